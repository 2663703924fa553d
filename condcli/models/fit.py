"""Which tensors of a checkpoint are a network's, when more than names and shapes differ.

A training framework saves the network as a part of something larger, a wrapper as a part of itself;
and a file saved by safetensors has one name only for weights that are tied.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from condcli.errors import InputError
from condcli.models.shapes import is_optional, shapes_of
from condcli.models.state_dict import under

# What training code has beside the network, in the same state_dict.
BESIDE = {
    "criterion", "ema", "ema_model", "loss", "loss_fn", "losses", "loss_function", "metric",
    "metrics", "model_ema", "n_averaged", "teacher", "test_metrics", "train_metrics", "val_metrics",
}  # fmt: skip
SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """The tensors under the network's own names, and what the user should know of the choice."""

    tensors: Mapping[str, Tensor]
    note: str | None = None


def fitted(given: Mapping[str, Tensor], module: nn.Module, prefix: str) -> Fit | None:
    """The part of the given tensors that is all that the module has, or None.

    `prefix` was stripped off their names before. Raises InputError when several parts are.
    """
    expected = module.state_dict()
    parts = {name.partition(".")[0] for name in expected}
    ties = _tied_names(module)
    whole = {prefix + name: tensor for name, tensor in given.items()}
    for tensors in (given, whole, *_within_the_module(given, expected)):
        inside = {name: tensor for name, tensor in tensors.items() if not _is_beside(name, parts)}
        if (fit := _exact(inside, expected, ties)) is not None:
            left = tensors.keys() - inside.keys()
            return Fit(tensors=fit, note=left_out(left) if left else None)
    return _part(given, expected, ties)


def mismatches(given: Mapping[str, Tensor], module: nn.Module) -> Mapping[str, Sequence[str]]:
    """The names that do not fit the module's, by what is wrong with them."""
    ours, theirs = shapes_of(given), shapes_of(module.state_dict())
    return {
        "missing": [repr(name) for name in theirs if name not in ours],
        "unexpected": [repr(name) for name in ours if name not in theirs],
        "of another shape": [
            f"{name!r} {ours[name]} instead of {theirs[name]}"
            for name in ours
            if name in theirs and ours[name] != theirs[name]
        ],
    }


def of_another_kind(given: Mapping[str, Tensor], module: nn.Module) -> Sequence[str]:
    """The given tensors that are whole numbers where the module's are not, or the other way round.

    Filled in, they would be other numbers, or parameters no longer.
    """
    expected = module.state_dict()
    return [
        f"{name!r} {_kind(tensor)} instead of {_kind(expected[name])}"
        for name, tensor in given.items()
        if isinstance(expected.get(name), Tensor)
        and not is_optional(name)
        and tensor.is_floating_point() != expected[name].is_floating_point()
    ]


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def left_out(names: Iterable[str]) -> str:
    """A note on tensors of the checkpoint that are not the network's."""
    shown = sorted(names)
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return f"left out beside it: {', '.join(shown[:SHOWN])}{more}"


def _exact(
    given: Mapping[str, Tensor], expected: Mapping[str, Tensor], ties: Mapping[str, set[str]]
) -> dict[str, Tensor] | None:
    """The given tensors, tied ones under all their names, if they are all that is expected."""
    tensors = dict(given)
    for name in expected:
        twin = next((each for each in ties.get(name, ()) if each in given), None)
        if name not in given and twin is not None:
            tensors[name] = given[twin]
    return tensors if shapes_of(tensors) == shapes_of(expected) else None


def _part(
    given: Mapping[str, Tensor], expected: Mapping[str, Tensor], ties: Mapping[str, set[str]]
) -> Fit | None:
    """The one sub-module of what was saved that is the network."""
    parts = {}
    for prefix in _inner_prefixes(given, expected):
        fit = _exact(under(given, prefix), expected, ties)
        if fit is not None:
            parts[prefix] = fit
    if len(parts) > 1:
        names = [prefix.rstrip(".") for prefix in parts]
        raise InputError(
            f"the network is there {len(parts)} times, as {', '.join(names)}",
            f"say which with --weights {names[0]}",
        )
    for prefix, fit in parts.items():
        left = [name for name in given if not name.startswith(prefix)]
        note = f"the network is the part {prefix[:-1]}"
        return Fit(tensors=fit, note=f"{note}; {left_out(left)}" if left else note)
    return None


def _inner_prefixes(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Iterator[str]:
    """The prefixes under which the name of an expected tensor is found."""
    sample = next((name for name in expected if not is_optional(name)), None)
    for name in given:
        if sample is not None and name.endswith(f".{sample}"):
            yield name.removesuffix(sample)


def _within_the_module(
    given: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> Iterator[dict[str, Tensor]]:
    """The given tensors under the prefix that a wrapper around the network expects of them."""
    sample = next((name for name in given if not is_optional(name)), None)
    for name in expected:
        if sample is not None and name.endswith(f".{sample}"):
            prefix = name.removesuffix(sample)
            yield {prefix + each: tensor for each, tensor in given.items()}


def _is_beside(name: str, parts: Container[str]) -> bool:
    """Whether a name is of something beside the network, which has none of its ``parts`` so."""
    top = name.partition(".")[0]
    return top in BESIDE and top not in parts


def _tied_names(module: nn.Module) -> dict[str, set[str]]:
    """All names of each parameter that has several."""
    names: defaultdict[int, set[str]] = defaultdict(set)
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names[id(parameter)].add(name)
    return {name: tied for tied in names.values() if len(tied) > 1 for name in tied}
