"""``torch.embedding_bag`` as lookups and a sum: every token is a row, as of an embedding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from condcli.capture.linear_maps import Call, Lookup

SUM, MEAN = 0, 1  # torch's own numbers for the modes; 2 is max, no linear map


def embedding_bag(
    see: Callable[[Call, Tensor], bool],
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = SUM,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    """What torch returns, of which only the first is of use; NotImplemented for ``mode="max"``.

    The lookups are shown to ``see``. Tokens equal to ``padding_idx`` are in no bag.
    """
    if mode not in (SUM, MEAN):
        return NotImplemented
    starts = offsets[:-1] if include_last_offset else offsets
    bags = (
        torch.bucketize(torch.arange(len(indices), device=indices.device), starts, right=True) - 1
    )
    ignored = -1 if padding_idx is None else padding_idx
    rows = torch.embedding(weight, indices, ignored)
    see(Call("embedding", indices, weight, None, Lookup(ignored)), rows)
    kept = (indices != ignored).to(rows)
    weighted = rows * (kept if per_sample_weights is None else kept * per_sample_weights)[:, None]
    out = rows.new_zeros(len(starts), rows.shape[1]).index_add(0, bags, weighted)
    sizes = kept.new_zeros(len(starts)).index_add(0, bags, kept)
    if mode == MEAN:
        out = out / sizes.clamp(min=1)[:, None]
    return out, bags, sizes.long(), sizes.long()
