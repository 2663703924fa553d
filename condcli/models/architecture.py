"""An architecture by name: the zoo, torchvision, timm, transformers, or the user's own function."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from condcli.errors import InputError, UsageError
from condcli.models import hf_models, timm_models
from condcli.models.shapes import Shapes
from condcli.models.vision import PREFIX, vision_names, vision_network, vision_sizes
from condcli.models.zoo import SIZES, ZOO
from condcli.user_code import errors_reported, foreign_code, load_function

FORMS = (
    "a zoo name, torchvision:NAME, timm:NAME, hf:CONFIG.json, FILE.py:function or "
    "package.module:function"
)
# From weights and their floating type to the network that has them, and the names that do not fit,
# by what is wrong with them.
Adopt = Callable[[Mapping[str, Tensor], torch.dtype], tuple[nn.Module, Mapping[str, Sequence[str]]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A way to build a network: a factory with its arguments, under the name that --arch takes."""

    name: str
    args: Mapping[str, object]
    factory: Callable[..., nn.Module]
    adopt: Adopt | None = None  # where weights need more than names: renaming, splitting, tying

    def __str__(self) -> str:
        args = ", ".join(f"{key}={value}" for key, value in self.args.items())
        return f"{self.name}({args})" if args else self.name

    def build(self) -> nn.Module:
        """The network with random weights; the global random numbers are left where they were.

        Raises InputError when the factory fails or returns something else.
        """
        with torch.random.fork_rng(devices=[]):
            network = self._call()
        if not isinstance(network, nn.Module):
            raise InputError(
                f"{self.name} returned {type(network).__name__}, not an nn.Module",
                "name a function that builds and returns the network",
            )
        return network

    def _call(self) -> object:
        if not self.is_built_in:
            self._require_arguments()
            with errors_reported(self.name):
                return self.factory(**self.args)
        with foreign_code(self._not_built):
            return self.factory(**self.args)

    def _require_arguments(self) -> None:
        """Raises UsageError naming what the user's factory takes and was not given."""
        try:
            parameters = inspect.signature(self.factory).parameters.values()
        except (TypeError, ValueError):  # some callables do not tell
            return
        free = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        missing = [
            parameter.name
            for parameter in parameters
            if parameter.default is parameter.empty
            and parameter.kind not in free
            and parameter.name not in self.args
        ]
        if missing:
            given = " ".join(f"--arch-arg {name}=…" for name in missing)
            raise UsageError(f"{self.name} needs {', '.join(missing)}", f"give {given}")

    def _not_built(self, error: BaseException) -> InputError:
        return InputError(f"{self} cannot be built: {error}", "check the architecture's arguments")

    @property
    def is_built_in(self) -> bool:
        """Whether the factory is condcli's or a library's rather than the user's."""
        return self.is_weightless or self.name.startswith(timm_models.PREFIX)

    @property
    def is_weightless(self) -> bool:
        """Whether the network can be built without memory for its weights, and then be given them.

        timm's cannot: some keep numbers that are in no state_dict.
        """
        return self.name in ZOO or self.name.startswith(PREFIX)


def find_architecture(
    name: str, args: Mapping[str, object], shapes: Shapes | None = None
) -> Architecture:
    """What `name` stands for; arguments not given are read off `shapes` where that is known.

    Naming a FILE.py or a package runs it. Raises UsageError for an unknown name or argument, and
    InputError when the user's function cannot be loaded.
    """
    if name in ZOO:
        _check_args(name, args)
        sizes = (SIZES[name](shapes) if shapes else None) or {}
        return Architecture(name=name, args=sizes | dict(args), factory=ZOO[name])
    if name.startswith(PREFIX):
        return _vision_architecture(name, args, shapes)
    if name.startswith(timm_models.PREFIX):
        return _timm_architecture(name, args, shapes)
    if name.startswith(hf_models.PREFIX):
        return _hf_architecture(name, args)
    if ":" in name:
        return Architecture(name=name, args=args, factory=load_function(name))
    near = get_close_matches(name, [*ZOO, *vision_names()])
    meant = [each if each in ZOO else PREFIX + each for each in near]
    raise UsageError(
        f"there is no architecture {name!r}",
        f"did you mean {' or '.join(meant)}?" if near else f"give {FORMS}",
    )


def parse_arch_args(pairs: Sequence[str]) -> dict[str, object]:
    """The arguments in `key=value` strings: Python literals, true and false, else plain strings.

    Raises UsageError for anything that is not key=value, or a key given twice.
    """
    args: dict[str, object] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(
                f"{pair!r} is no argument of an architecture", "write --arch-arg key=value"
            )
        if key in args:
            raise UsageError(f"--arch-arg {key} is given twice", "give each argument once")
        args[key] = _parsed(text)
    return args


def _parsed(text: str) -> object:
    if text in ("true", "false"):
        return text == "true"
    try:
        value: object = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value


def _vision_architecture(
    name: str, args: Mapping[str, object], shapes: Shapes | None
) -> Architecture:
    network = name.removeprefix(PREFIX)
    known = vision_names()
    if network not in known:
        near = get_close_matches(network, known)
        raise UsageError(
            f"torchvision has no classification network {network!r}",
            f"did you mean {' or '.join(PREFIX + each for each in near)}?"
            if near
            else "torchvision.models.list_models() names them",
        )
    if "weights" in args:  # they would be downloaded, and then overwritten
        raise UsageError(f"{name} takes no weights but the checkpoint's", "leave out weights")
    sizes = vision_sizes(network, shapes) if shapes else {}
    return Architecture(
        name=name, args=sizes | dict(args), factory=partial(vision_network, network)
    )


def _timm_architecture(
    name: str, args: Mapping[str, object], shapes: Shapes | None
) -> Architecture:
    network = name.removeprefix(timm_models.PREFIX)
    timm_models.check_timm_name(network)
    if args.keys() & {"pretrained", "checkpoint_path"}:
        raise UsageError(f"{name} takes no weights but the checkpoint's", "leave out pretrained")
    sizes = timm_models.timm_sizes(network, shapes) if shapes else {}
    factory = partial(timm_models.timm_network, network)
    return Architecture(name=name, args=sizes | dict(args), factory=factory)


def _hf_architecture(name: str, args: Mapping[str, object]) -> Architecture:
    config = hf_models.hf_config(Path(name.removeprefix(hf_models.PREFIX)), args)
    return Architecture(
        name=name,
        args=args,
        factory=lambda **_: hf_models.hf_network(config),
        adopt=partial(hf_models.hf_network_with, config),
    )


def _check_args(name: str, args: Mapping[str, object]) -> None:
    factory = ZOO[name]
    fixed = factory.keywords if isinstance(factory, partial) else {}
    known = [key for key in inspect.signature(factory).parameters if key not in fixed]
    for key in args:
        if key not in known:
            raise UsageError(f"{name} takes no argument {key!r}", f"it takes {', '.join(known)}")
