"""transformers' networks: the class and configuration that a config.json names, built locally.

Nothing is fetched and no code of the folder runs, unless trusted: the class is transformers' own,
its weights are the ones that were read here, and transformers only renames them as it does its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from condcli.errors import InputError, UnsafeError, UsageError
from condcli.models.config import NAME
from condcli.models.formats.json_file import read_json
from condcli.user_code import one_line

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

PREFIX = "hf:"


def hf_config(path: Path, args: Mapping[str, object]) -> PreTrainedConfig:
    """The configuration in the file or folder at `path`, with `args` in place of its own words.

    Raises InputError when it is none that transformers knows, UsageError without transformers, and
    UnsafeError when the network that it names is code beside it.
    """
    with _offline():
        from transformers import AutoConfig

        file = path / NAME if path.is_dir() else path
        words = read_json(file)
        _check(file, words)
        own = {key: value for key, value in words.items() if key != "model_type"}
        try:
            config = AutoConfig.for_model(str(words["model_type"]), **own | dict(args))
        except Exception as error:
            raise InputError(f"{file}: {one_line(error)}", "correct the configuration") from error
    return config


def hf_network(config: PreTrainedConfig) -> nn.Module:
    """The network of the configuration, with random weights."""
    with _offline():
        network: nn.Module = _network_class(config)._from_config(config, **EAGER)
    return network


def hf_network_with(
    config: PreTrainedConfig, state_dict: Mapping[str, Tensor], dtype: torch.dtype
) -> tuple[nn.Module, dict[str, list[str]]]:
    """The network with the weights, renamed as transformers does, and the names that do not fit.

    Those are by kind: missing, unexpected, of another shape.
    """
    with _offline():
        network, info = _network_class(config).from_pretrained(
            None,
            config=config,
            state_dict=dict(state_dict),
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **EAGER,
        )
    misfits = {
        "missing": sorted(info["missing_keys"]),
        "unexpected": sorted(info["unexpected_keys"]),
        "of another shape": sorted(name for name, *_ in info["mismatched_keys"]),
    }
    return network, misfits


# Everything by name and nothing fused; a configuration's own word could also name code to fetch.
EAGER = {"attn_implementation": "eager", "experts_implementation": "eager"}


def _check(file: Path, words: Mapping[str, object]) -> None:
    from transformers import CONFIG_MAPPING

    if "model_type" not in words:
        raise InputError(f"{file} names no model_type", "name the architecture with --arch")
    if words["model_type"] not in CONFIG_MAPPING:
        kind = f"{file} is of the model type {words['model_type']!r}, which transformers has not"
        if "auto_map" in words:
            raise UnsafeError(
                f"{kind}: its network is code beside it, which condcli does not run",
                "name that code yourself: --arch FILE.py:function",
            )
        raise InputError(kind, "update transformers, or name the architecture with --arch")
    if "quantization_config" in words:
        raise InputError(
            f"{file} is of a quantized network", "probe the one that it was quantized from"
        )


def _network_class(config: PreTrainedConfig) -> Any:
    """The class that the configuration names; where it names none, the one without a head."""
    import transformers

    names = config.architectures or ()
    for name in names:
        found = getattr(transformers, name, None)
        if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
            return found
    if not names and type(config) in transformers.MODEL_MAPPING:
        return transformers.MODEL_MAPPING[type(config)]
    raise InputError(
        f"transformers has no network {' or '.join(map(repr, names)) or 'of that configuration'}",
        "update transformers, or name the architecture with --arch",
    )


@contextmanager
def _offline() -> Iterator[None]:
    """transformers neither asks the network nor reports on stderr."""
    try:
        import huggingface_hub.constants as hub
        from transformers.utils import logging
    except ImportError:
        raise UsageError(
            "this needs transformers", "pip install 'condcli[hf]', or pass --arch"
        ) from None
    was_offline, verbosity = hub.HF_HUB_OFFLINE, logging.get_verbosity()
    had_bars = logging.is_progress_bar_enabled()
    hub.HF_HUB_OFFLINE = True
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE = was_offline
        logging.set_verbosity(verbosity)
        if had_bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
