"""The rows of one call of one linear map, by index loops, straight from the definitions.

The law that everything here obeys, tested for every kind in test_reference.py: in view `patches`,
for each group g, ``rows(x)[g] @ W[g].T + bias[g] == rows(h)[g]``.

- A linear layer's rows are all its leading dimensions, flattened.
- An embedding's rows are its tokens, one-hot, in order; padding_idx is no token.
- View `patches`: a convolution has one row for each output position, the patch of the padded
  input that the position sees, ordered channel first, kernel position last. A transposed
  convolution is the ordinary convolution of the zero-stuffed input with the flipped kernel:
  Wm[o, (c, q)] = weight[c, o, flip(q)].
- View `channels`: the rows of x are the locations of the unpadded input feature map, those of h
  the locations of the output feature map.
- G groups are G contiguous blocks of channels, each a linear map of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

LINEAR_MAPS = (nn.Linear, nn.Embedding, _ConvNd)


def input_rows(module: nn.Module, x: Tensor, h: Tensor, *, conv: str) -> Tensor:
    """The rows of x that ``module`` saw when it mapped x to h: (rows, d_in)."""
    if isinstance(module, nn.Linear):
        return x.reshape(-1, x.shape[-1])
    if isinstance(module, nn.Embedding):
        tokens = x.flatten()[_tokens(module, x)]
        return torch.eye(module.num_embeddings, dtype=h.dtype)[tokens]
    if conv == "channels":
        return location_rows(x)
    assert isinstance(module, _ConvNd)
    find = _transposed_source if isinstance(module, _ConvTransposeNd) else _source
    rows = []
    for position in product(*map(range, h.shape[2:])):
        columns = []
        for tap in product(*map(range, module.kernel_size)):
            places = [find(module, d, position[d], tap[d], x.shape[2 + d]) for d in _dims(x)]
            outside = any(place is None for place in places)
            columns.append(x.new_zeros(x.shape[:2]) if outside else x[_at(places)])
        rows.append(torch.stack(columns, dim=-1).flatten(1))
    return torch.cat(rows)


def output_rows(module: nn.Module, h: Tensor, x: Tensor) -> Tensor:
    """The rows of h, or of a gradient with respect to h, for this input: (rows, d_out)."""
    if isinstance(module, nn.Embedding):
        return h.reshape(-1, h.shape[-1])[_tokens(module, x)]
    return h.reshape(-1, h.shape[-1]) if isinstance(module, nn.Linear) else location_rows(h)


def _tokens(module: nn.Embedding, x: Tensor) -> Tensor:
    """Which of the flattened inputs are tokens."""
    return x.flatten() != (-1 if module.padding_idx is None else module.padding_idx)


def location_rows(maps: Tensor) -> Tensor:
    """One row for each location of a batch of feature maps, position by position: (rows, C)."""
    places = product(*map(range, maps.shape[2:]))
    return torch.cat([maps[_at(place)] for place in places])


def weight_matrices(module: nn.Module, weight: Tensor) -> Tensor:
    """``weight``, shaped as the module's own, as one matrix a group: (G, d_out/G, d_in/G)."""
    if isinstance(module, nn.Linear):
        return weight[None]
    if isinstance(module, nn.Embedding):
        return weight.T[None]
    assert isinstance(module, _ConvNd)
    groups = module.groups
    if not isinstance(module, _ConvTransposeNd):
        return weight.reshape(groups, module.out_channels // groups, -1)
    matrices = []
    for block in weight.chunk(groups):  # (C_in/G, C_out/G, *k): input channels first
        flipped = block.flip(*range(2, block.ndim))
        matrices.append(torch.stack([flipped[:, o].flatten() for o in range(block.shape[1])]))
    return torch.stack(matrices)


def split_groups(module: nn.Module, rows: Tensor) -> Tensor:
    """``rows`` cut into the module's groups of columns: (G, rows, d/G)."""
    return torch.stack(rows.chunk(groups_of(module), dim=1))


def groups_of(module: nn.Module) -> int:
    return module.groups if isinstance(module, _ConvNd) else 1


def _dims(x: Tensor) -> range:
    return range(x.ndim - 2)


def _at(places: Sequence[int | None]) -> tuple[slice | int | None, ...]:
    return (slice(None), slice(None), *places)


def _source(module: _ConvNd, d: int, position: int, tap: int, size: int) -> int | None:
    """The input index that a convolution's kernel tap reads in dimension d; None reads a zero."""
    index = position * module.stride[d] + tap * module.dilation[d] - _padding_before(module, d)
    if 0 <= index < size:
        return index
    if module.padding_mode == "reflect":
        return -index if index < 0 else 2 * (size - 1) - index
    if module.padding_mode == "replicate":
        return 0 if index < 0 else size - 1
    return index % size if module.padding_mode == "circular" else None


def _padding_before(module: _ConvNd, d: int) -> int:
    if module.padding == "same":  # an odd total puts the extra cell behind
        return module.dilation[d] * (module.kernel_size[d] - 1) // 2
    return 0 if module.padding == "valid" else int(module.padding[d])


def _transposed_source(module: _ConvNd, d: int, position: int, tap: int, size: int) -> int | None:
    """The input index that meets the flipped tap: position + pad = index·stride + flip·dilation."""
    flip = module.kernel_size[d] - 1 - tap
    scaled = position + int(module.padding[d]) - flip * module.dilation[d]
    index, rest = divmod(scaled, module.stride[d])
    return index if rest == 0 and 0 <= index < size else None
