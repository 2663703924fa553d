"""A checkpoint's weights put into a network: strictly, all mismatches in one message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from condcli import machine
from condcli.errors import InputError
from condcli.models.architecture import Adopt, Architecture
from condcli.models.checkpoint import Checkpoint
from condcli.models.filling import take_in
from condcli.models.fit import fitted, left_out, mismatches, of_another_kind
from condcli.models.parts import parts
from condcli.models.shapes import built_weightless

MOST_MISMATCHES = 10  # named one by one; of more, a few of each kind
MOST_OF_A_KIND = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Filled:
    """A network with weights, and what the user should know of how they got there."""

    module: nn.Module
    notes: tuple[str, ...] = ()


def network_for(architecture: Architecture, state_dict: Mapping[str, Tensor]) -> nn.Module:
    """The architecture's network, ready for `fill` with the state_dict.

    Where that can be, it has no weights yet, and so needs neither memory nor random numbers.
    Raises InputError when it cannot be built.
    """
    if architecture.is_weightless:
        return built_weightless(architecture.build)
    return architecture.build().to(dtype=precision(state_dict))  # or a copy into it would round


def fill(
    module: nn.Module,
    architecture: Architecture,
    checkpoint: Checkpoint,
    state_dict: Mapping[str, Tensor],
) -> Filled:
    """The module of `network_for`, with the tensors of the checkpoint's state_dict as its weights.

    Each has memory of its own, but what a user's network ties stays tied. Raises InputError for
    missing and unexpected tensors and those of another shape or of another kind of number.
    """
    try:
        fit = fitted(state_dict, module, checkpoint.prefix)
    except InputError as error:
        raise InputError(f"{checkpoint.path}: {error.message}", error.remedy) from None
    if fit is None:
        raise _misfit(checkpoint, architecture, mismatches(state_dict, module))
    _check_kinds(fit.tensors, module, checkpoint, architecture)
    weightless = architecture.is_weightless
    take_in(module, _unshared(fit.tensors) if weightless else fit.tensors, assign=weightless)
    return Filled(module=module, notes=(fit.note,) if fit.note else ())


def adopt(
    adopter: Adopt,
    architecture: Architecture,
    checkpoint: Checkpoint,
    state_dict: Mapping[str, Tensor],
) -> Filled:
    """The network that a library builds around the weights, under the names that it knows them by.

    Tensors of parts that this network lacks (another task's head, say) are left out, and told.
    Raises InputError for all others that do not fit.
    """
    first: InputError | None = None
    for tensors in _candidates(checkpoint, state_dict):
        copies = {name: tensor.clone() for name, tensor in tensors.items()}
        with torch.random.fork_rng(devices=[]):
            module, misfits = adopter(copies, precision(state_dict))
        beside = [name for name in misfits["unexpected"] if _is_of_another_part(name, module)]
        if not any(set(names) - set(beside) for names in misfits.values()):
            _check_kinds(tensors, module, checkpoint, architecture)
            return Filled(module=module, notes=(left_out(beside),) if beside else ())
        faults = {
            kind: [repr(n) for n in each if n not in beside] for kind, each in misfits.items()
        }
        first = first or _misfit(checkpoint, architecture, faults)
    assert first is not None  # the whole is always a candidate
    raise first


def _check_kinds(
    tensors: Mapping[str, Tensor],
    module: nn.Module,
    checkpoint: Checkpoint,
    architecture: Architecture,
) -> None:
    odd = of_another_kind(tensors, module)
    if odd:
        raise _misfit(checkpoint, architecture, {"of another kind of number": odd})


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors; copies of those that share memory with others, or are a part of more."""
    users = Counter(tensor.untyped_storage().data_ptr() for tensor in tensors.values())

    def is_alone(tensor: Tensor) -> bool:
        storage = tensor.untyped_storage()
        whole = tensor.numel() * tensor.element_size() == storage.nbytes()
        return whole and users[storage.data_ptr()] == 1

    copies = [each for each in tensors.values() if not is_alone(each)]
    size = sum(each.numel() * each.element_size() for each in copies)
    machine.require(size, "a copy of the weights that share memory", machine.LARGER)
    return {name: each if is_alone(each) else each.clone() for name, each in tensors.items()}


def _candidates(
    checkpoint: Checkpoint, state_dict: Mapping[str, Tensor]
) -> Iterator[Mapping[str, Tensor]]:
    """What may be the network's: the whole, without and with the prefix that it had, or a part."""
    yield state_dict
    if checkpoint.prefix:
        yield {checkpoint.prefix + name: tensor for name, tensor in state_dict.items()}
    yield from islice(parts(state_dict), 1, None)


def use_one_precision(module: nn.Module, state_dict: Mapping[str, Tensor]) -> Sequence[str]:
    """Brings the module to one floating type; a note if weights change theirs."""
    dtype = precision(state_dict)
    module.to(dtype=dtype)
    others = sorted(_dtype_name(each) for each in _floating_types(state_dict) - {dtype})
    return [f"{' and '.join(others)} weights used as {_dtype_name(dtype)}"] if others else ()


def precision(state_dict: Mapping[str, Tensor]) -> torch.dtype:
    """The floating type to compute in: float32, or float64 if any tensor is."""
    return torch.float64 if torch.float64 in _floating_types(state_dict) else torch.float32


def _floating_types(state_dict: Mapping[str, Tensor]) -> set[torch.dtype]:
    return {tensor.dtype for tensor in state_dict.values() if tensor.is_floating_point()}


def _is_of_another_part(name: str, module: nn.Module) -> bool:
    """Whether the tensor's module is none of the network's, nor one more of a list of them."""
    modules = [f".{each}" for each, _ in module.named_modules()]
    path = ""
    for part in name.split(".")[:-1]:
        path = f"{path}.{part}"
        if not any(each.endswith(path) for each in modules):
            return not part.isdigit()
    return False


def _misfit(
    checkpoint: Checkpoint, architecture: Architecture, faults: Mapping[str, Sequence[str]]
) -> InputError:
    total = sum(len(names) for names in faults.values())
    most = total if total <= MOST_MISMATCHES else MOST_OF_A_KIND
    kinds = ", ".join(
        f"{len(names)} {kind} ({', '.join(names[:most])}{', …' if len(names) > most else ''})"
        for kind, names in faults.items()
        if names
    )
    return InputError(
        f"{checkpoint.path} does not fit {architecture}: {kinds}",
        "name its architecture and sizes with --arch and --arch-arg",
    )


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
