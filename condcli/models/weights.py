"""A checkpoint's weights put into a network: strictly, all mismatches in one message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from condcli.errors import InputError
from condcli.models.architecture import Architecture
from condcli.models.checkpoint import Checkpoint
from condcli.models.shapes import Shapes, built_weightless, shapes_of

MOST_MISMATCHES = 10  # named one by one; of more, a few of each kind
MOST_OF_A_KIND = 3


def network_for(architecture: Architecture, state_dict: Mapping[str, Tensor]) -> nn.Module:
    """The architecture's network, ready for `fill` with the state_dict.

    One that we know has no weights yet, and so needs neither memory nor random numbers for them.
    Raises InputError when it cannot be built.
    """
    if architecture.is_built_in:
        return built_weightless(architecture.build)
    return architecture.build().to(dtype=_precision(state_dict))  # or a copy into it would round


def fill(
    module: nn.Module,
    architecture: Architecture,
    checkpoint: Checkpoint,
    state_dict: Mapping[str, Tensor],
) -> None:
    """Gives the module of `network_for` the tensors of the checkpoint's state_dict as its weights.

    A network that we know gets the tensors themselves; a user's gets copies, which leaves tied
    weights tied. Raises InputError for missing and unexpected tensors and those of another shape.
    """
    expected = module.state_dict()
    named = _with_expected_prefix(state_dict, expected, checkpoint.prefix)
    try:
        module.load_state_dict(named, strict=True, assign=architecture.is_built_in)
    except RuntimeError:
        raise InputError(
            f"{checkpoint.path} does not fit {architecture}: "
            + _mismatches(shapes_of(named), shapes_of(expected)),
            "name its architecture and sizes with --arch and --arch-arg",
        ) from None


def use_one_precision(module: nn.Module, state_dict: Mapping[str, Tensor]) -> Sequence[str]:
    """Brings the module to one floating type; a note if weights change theirs."""
    dtype = _precision(state_dict)
    module.to(dtype=dtype)
    others = sorted(_dtype_name(each) for each in _floating_types(state_dict) - {dtype})
    return [f"{' and '.join(others)} weights used as {_dtype_name(dtype)}"] if others else ()


def _precision(state_dict: Mapping[str, Tensor]) -> torch.dtype:
    return torch.float64 if torch.float64 in _floating_types(state_dict) else torch.float32


def _floating_types(state_dict: Mapping[str, Tensor]) -> set[torch.dtype]:
    return {tensor.dtype for tensor in state_dict.values() if tensor.is_floating_point()}


def _with_expected_prefix(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], prefix: str
) -> Mapping[str, Tensor]:
    """The tensors under the stripped prefix again, if that is how the network names its own."""
    restored = {prefix + name: tensor for name, tensor in tensors.items()}
    return restored if restored.keys() & expected.keys() else tensors


def _mismatches(given: Shapes, expected: Shapes) -> str:
    kinds = {
        "missing": [repr(name) for name in expected if name not in given],
        "unexpected": [repr(name) for name in given if name not in expected],
        "of another shape": [
            f"{name!r} {given[name]} instead of {expected[name]}"
            for name in given
            if name in expected and given[name] != expected[name]
        ],
    }
    total = sum(len(names) for names in kinds.values())
    most = total if total <= MOST_MISMATCHES else MOST_OF_A_KIND
    return ", ".join(
        f"{len(names)} {kind} ({', '.join(names[:most])}{', …' if len(names) > most else ''})"
        for kind, names in kinds.items()
        if names
    )


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
