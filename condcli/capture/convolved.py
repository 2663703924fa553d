"""Matrix products as 1×1 convolutions, where torch has those done at twice the speed.

On processors that are not Intel's, MKL, which multiplies matrices for torch, leaves AVX-512 alone;
oneDNN, which convolves for it, does not. From Zen 5 on, AMD's do twice as much with it. Rows are
then the places of feature maps in channels-last order: nothing is copied.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# A convolution takes longer to begin and to end: so many rows and multiplications make up for it.
FEWEST_ROWS, FEWEST = 256, 2**23
IMAGES = 16  # of fewer, torch has it done by BLAS after all where there is one thread


def outer(a: Tensor, b: Tensor) -> Tensor:
    """Σ a bᵀ over rows (n, p) and (n, q), (p, q), by whichever way is quicker."""
    if not pays(a, b.shape[1]):
        return a.t() @ b
    whole = len(a) // IMAGES * IMAGES
    weight = a.new_empty(()).expand(a.shape[1], b.shape[1], 1, 1)
    _, gradient, _ = torch.ops.aten.convolution_backward(
        _maps(a[:whole]), _maps(b[:whole]), weight, None, (1, 1), (0, 0), (1, 1), False, (0, 0), 1,
        (False, True, False),
    )  # fmt: skip
    found: Tensor = gradient.flatten(1)
    if whole < len(a):
        found.addmm_(a[whole:].t(), b[whole:])
    return found


def add_outer(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add Σ a bᵀ over rows (n, p) and (n, q) to (p, q), by whichever way is quicker."""
    if pays(a, b.shape[1]):
        total += outer(a, b)
    else:
        total.addmm_(a.t(), b)


def times(a: Tensor, b: Tensor) -> Tensor:
    """A @ b of (n, p) and (p, q), by whichever way is quicker."""
    found = linear(a, b.t(), None)
    return a @ b if found is None else found


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
    """``F.linear``, and its gradients, as a convolution; None where that does not pay."""
    plain = type(x) is Tensor and type(weight) in (Tensor, nn.Parameter)
    if not plain or x.dim() < 2 or not x.is_contiguous() or weight.dim() != 2:
        return None
    rows, same = x.flatten(0, -2), x.dtype == weight.dtype and x.shape[-1] == weight.shape[1]
    if not same or len(rows) % IMAGES or not pays(rows, len(weight)):
        return None
    out = F.conv2d(_maps(rows), weight[:, :, None, None], bias).permute(0, 2, 3, 1).contiguous()
    # No view, as what F.linear returns is none: networks change it in place.
    unviewed: Tensor = torch.ops.aten._unsafe_view(out, (*x.shape[:-1], len(weight)))
    return unviewed


def pays(rows: Tensor, columns: int) -> bool:
    """Whether the product of these rows, (n, p), with a matrix of so many columns is quicker so."""
    many = len(rows) >= FEWEST_ROWS and rows.numel() * columns >= FEWEST
    quick = many and rows.dtype == torch.float32 and rows.device.type == "cpu"
    return quick and not torch.is_autocast_enabled("cpu") and _blas_is_slow()


def _maps(rows: Tensor) -> Tensor:
    """(IMAGES, d, n / IMAGES, 1) of rows (n, d), in channels-last order."""
    maps: Tensor = rows.unflatten(0, (IMAGES, -1, 1))
    return maps.permute(0, 3, 1, 2)


@cache
def _blas_is_slow() -> bool:
    """False also where the processor is not known."""
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    # Zen 4 has AVX-512, but in two halves, and not this part of it.
    wide = known.get("avx512_vp2intersect") is True
    other = "Intel" not in known.get("cpu_name", "Intel")
    return (
        wide
        and other
        and torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
    )
