"""Tensors by name: their names without wrappers' prefixes, and whether they are fit to be used."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from condcli.errors import InputError

MOST_SHARED = 64  # times that memory is claimed: layers may share weights, some dozens of them
PREFIXES = ("module.", "_orig_mod.", "model.")  # of DataParallel, torch.compile, Lightning
# Of torch.compile, FSDP and activation checkpointing around a part of the network.
WRAPPERS = re.compile(r"(^|\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.)")


def strip_prefixes(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """The tensors without the wrappers' prefixes that all names share, and what was taken away.

    Those of wrappers around a part of the network go, too.
    """
    names, stripped = list(tensors), ""
    while prefix := next((p for p in PREFIXES if all(n.startswith(p) for n in names)), ""):
        names = [name.removeprefix(prefix) for name in names]
        stripped += prefix
    names = [WRAPPERS.sub("", name).removeprefix(".") for name in names]
    return dict(zip(names, tensors.values(), strict=True)), stripped


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def check_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raises InputError naming the first tensor that is not dense, real, whole and finite.

    So, too, where all tensors together are views of far less than they claim.
    """
    _check_claims([each for each in tensors.values() if _is_plain(each)], path)
    for name, tensor in tensors.items():
        fault = _fault(tensor, masks="mask" in name)
        if fault:
            raise InputError(
                f"{path}: the tensor {name!r} {fault}",
                "probe an earlier checkpoint, or one saved with plain dense weights",
            )


def _check_claims(tensors: Sequence[Tensor], path: Path) -> None:
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage() for each in tensors}
    stored = sum(storage.nbytes() for storage in storages.values())
    claimed = sum(map(_bytes, tensors))
    if claimed > MOST_SHARED * stored:
        raise InputError(
            f"{path}: its {len(tensors):,} tensors claim {claimed:,} bytes, but share {stored:,}",
            "save it with each weight once",
        )


def _is_plain(tensor: Tensor) -> bool:
    return (
        tensor.layout == torch.strided
        and not (tensor.is_quantized or tensor.is_meta)
        and _bytes(tensor) <= tensor.untyped_storage().nbytes()
    )


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _fault(tensor: Tensor, *, masks: bool) -> str:
    if tensor.layout != torch.strided or tensor.is_quantized:
        return "is sparse or quantized"
    if tensor.is_meta:
        return "has no data (it was saved from the meta device)"
    if tensor.is_complex():
        return "is complex"
    # A view with stride 0 claims terabytes from a few bytes.
    if _bytes(tensor) > tensor.untyped_storage().nbytes():
        return f"claims {tensor.numel():,} numbers but stores fewer"
    if tensor.is_floating_point() and not _all_finite(tensor):
        # -inf is how an attention mask says no.
        return "" if masks and not tensor.isnan().any() else "has NaN or infinite values"
    return ""


def _all_finite(tensor: Tensor) -> bool:
    wide = tensor.float() if tensor.element_size() == 1 else tensor  # float8 has no isfinite
    # One bad value spoils the sum, which is three times as fast; but a sum can also overflow.
    return bool(wide.sum().isfinite()) or bool(wide.isfinite().all())
