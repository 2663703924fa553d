"""Where the weights are in what a checkpoint holds, and whether they are fit to be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from condcli.errors import InputError

# In order of preference where a checkpoint has several.
PLACES = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "module",
    "weights", "params", "state_dict_ema", "model_ema", "ema_state_dict", "ema",
)  # fmt: skip
DEEPEST = 4  # nested dicts; also what ends the search in a dict that contains itself
PREFIXES = ("module.", "_orig_mod.", "model.")  # of DataParallel, torch.compile, Lightning


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The weights, as tensors or (trusted checkpoints only) in a module, and the keys to them."""

    weights: Mapping[str, Tensor] | nn.Module
    place: tuple[str, ...]
    others: tuple[str, ...] = ()  # places of the same rank that were left


def find_weights(data: object, path: Path) -> Found:
    """The state_dict or module in `data`, at the top, at a well-known place or the only one.

    Raises InputError when there is none or no telling which.
    """
    known = _search(data)
    found = known or [
        Found(value, (str(key),))
        for key, value in (data.items() if isinstance(data, Mapping) else ())
        if _is_state_dict(value)
    ]
    if not found:
        raise InputError(
            f"{path} holds {_described(data)}, and no state_dict",
            "torch.save the network's state_dict()",
        )
    if len(found) > 1 and not known:
        names = ", ".join(repr(each.place[0]) for each in found)
        raise InputError(
            f"{path} holds several state_dicts: {names}", "torch.save the one to probe alone"
        )
    others = tuple(".".join(each.place) for each in found[1:])
    return Found(found[0].weights, found[0].place, others)


def strip_prefixes(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """The tensors without the wrappers' prefixes that all names share, and what was taken away."""
    names, stripped = list(tensors), ""
    while prefix := next((p for p in PREFIXES if all(n.startswith(p) for n in names)), ""):
        names = [name.removeprefix(prefix) for name in names]
        stripped += prefix
    return dict(zip(names, tensors.values(), strict=True)), stripped


def check_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raises InputError naming the first tensor that is not dense, real, whole and finite."""
    for name, tensor in tensors.items():
        fault = _fault(tensor)
        if fault:
            raise InputError(
                f"{path}: the tensor {name!r} {fault}",
                "probe an earlier checkpoint, or one saved with plain dense weights",
            )


def _search(data: object) -> list[Found]:
    found: list[Found] = []
    waiting: list[tuple[tuple[str, ...], object]] = [((), data)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, nn.Module) or _is_state_dict(value):
            found.append(Found(value, place))  # type: ignore[arg-type]  # just looked at
        elif isinstance(value, Mapping) and len(place) < DEEPEST:
            inner = [((*place, key), value[key]) for key in PLACES if key in value]
            waiting.extend(reversed(inner))
    return found


def _is_state_dict(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


def _described(data: object) -> str:
    if isinstance(data, Mapping):
        names = ", ".join(repr(key) for key in list(data)[:8])
        return f"a dict of {names}" if names else "an empty dict"
    return f"one {type(data).__name__}"


def _fault(tensor: Tensor) -> str:
    if tensor.layout != torch.strided or tensor.is_quantized:
        return "is sparse or quantized"
    if tensor.is_meta:
        return "has no data (it was saved from the meta device)"
    if tensor.is_complex():
        return "is complex"
    # A view with stride 0 claims terabytes from a few bytes.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"claims {tensor.numel():,} numbers but stores fewer"
    if tensor.is_floating_point() and not _all_finite(tensor):
        return "has NaN or infinite values"
    return ""


def _all_finite(tensor: Tensor) -> bool:
    wide = tensor.float() if tensor.element_size() == 1 else tensor  # float8 has no isfinite
    # One bad value spoils the sum, which is three times as fast; but a sum can also overflow.
    return bool(wide.sum().isfinite()) or bool(wide.isfinite().all())
