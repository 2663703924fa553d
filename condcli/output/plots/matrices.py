"""Heat maps of Σ_x, Σ_∇h and F = Σ_x ⊗ Σ_∇h, a row of three a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from condcli.errors import UsageError
from condcli.output.plots.quantities import FISHER, GRAD, INPUT
from condcli.output.plots.sources import Options, Sample, chosen, some
from condcli.output.plots.style import DIVERGING, WIDTH, label
from condcli.stats import FloatArray, IntArray, LayerStats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 4  # layers on a page
SIDE = 300  # pixels of a map, at most
FACTOR_SIDE = 20  # blocks of each factor in the map of F, at most
DECADES = 3  # that the colours span on each side of zero
_ROW = 2.0  # inches


def matrices(samples: Sequence[Sample], options: Options) -> Figure:
    """The entries of the matrices of some layers, in the scale of the conv view.

    Of a matrix too large to be shown whole, a pixel is the mean over a block of entries. Of more
    than four layers, four in even distances.
    """
    from matplotlib.figure import Figure

    if len(samples) > 1:
        raise UsageError(f"matrices shows one file, not {len(samples)}", "plot them one by one")
    sample = samples[0]
    names = chosen(sample.stats.layers, options, what="layer", where=sample.path)
    shown = some(names, MOST, what="layers")
    figure = Figure(figsize=(WIDTH, _ROW * len(shown)), layout="constrained")
    cells = figure.subplots(len(shown), 3, squeeze=False)
    for row, name in zip(cells, shown, strict=True):
        layer = sample.stats.layers[name]
        maps = maps_of(layer, conv=sample.stats.provenance.conv)
        sizes = (layer.d_in, layer.d_out, layer.d_in // layer.groups * layer.d_out)
        for axes, pixels, sign, size in zip(row, maps, (INPUT, GRAD, FISHER), sizes, strict=True):
            _draw(axes, pixels, sign, size)
        row[0].set_ylabel(label(name))
    return figure


def maps_of(layer: LayerStats, *, conv: str) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The pixels of Σ_x, Σ_∇h and F, each at most 300 or 400 on a side.

    The mean of F over a block of inputs and one of outputs is the product of the factors' means, so
    that F itself is never formed. Of groups, F is that of the first.
    """
    factor, scale = (layer.positions**2, 1.0) if conv == "channels" else (1.0, layer.positions)
    x, grad = (_means(layer, side, FACTOR_SIDE, _first) for side in ("input", "grad"))
    return (
        _means(layer, "input", SIDE),
        factor * _means(layer, "grad", SIDE),
        scale * factor * np.kron(x, grad),
    )


def _means(
    layer: LayerStats,
    side: str,
    most: int,
    part: Callable[[FloatArray], FloatArray] = lambda array: array,
) -> FloatArray:
    """The `block_means` of a part of one side's moment, or of what stands for that."""
    moment, factor = getattr(layer, f"{side}_moment"), getattr(layer, f"{side}_factor")
    if moment is None:
        return block_means_of_factor(part(factor), most)
    return block_means(part(moment), most)


def block_means_of_factor(factor: FloatArray, most: int) -> FloatArray:
    """The `block_means` of FᵀF, F (k, d) or (G, k, d): FᵀF of the sums of columns over blocks."""
    stack = factor if factor.ndim == 3 else factor[None]
    counts = np.diff(_edges(len(stack) * stack.shape[2], most))
    blocks = np.repeat(np.arange(len(counts)), counts).reshape(len(stack), -1)
    sums = np.zeros((len(counts), len(counts)))
    for rows, block in zip(stack, blocks, strict=True):
        together = np.zeros((len(counts), len(rows)))
        np.add.at(together, block, rows.T)
        sums += together @ together.T
    means: FloatArray = sums / np.outer(counts, counts)
    return means


def block_means(moment: FloatArray, most: int) -> FloatArray:
    """A moment, (d,) for a diagonal, (d, d) or (G, d, d), as means over at most `most`² blocks."""
    groups = len(moment) if moment.ndim == 3 else 1
    size = groups * moment.shape[-1]
    edges = _edges(size, most)
    counts = np.diff(edges)
    if moment.ndim == 2:
        sums = np.add.reduceat(moment, edges[:-1], axis=0, dtype=np.float64)
        sums = np.add.reduceat(sums, edges[:-1], axis=1)
    else:
        sums = _sums_on_diagonal(moment, np.repeat(np.arange(len(counts)), counts))
    means: FloatArray = sums / np.outer(counts, counts)
    return means


def _edges(size: int, most: int) -> IntArray:
    """Where at most so many blocks of nearly equal sizes begin, and the last one ends."""
    return np.linspace(0, size, min(size, most) + 1).astype(np.int64)


def _sums_on_diagonal(moment: FloatArray, block: IntArray) -> FloatArray:
    """The sums over blocks of the matrix that has a diagonal, or groups' matrices, along its own.

    `block` is the number of the block that each row is in.
    """
    parts = moment[:, None, None] if moment.ndim == 1 else moment
    sums = np.zeros((block[-1] + 1, block[-1] + 1))
    rows = block.reshape(len(parts), -1)
    np.add.at(sums, (rows[:, :, None], rows[:, None, :]), parts)
    return sums


def _first(moment: FloatArray) -> FloatArray:
    return moment[0] if moment.ndim == 3 else moment


def _draw(axes: Axes, pixels: FloatArray, sign: str, size: int) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import SymLogNorm

    colors = colormaps[DIVERGING].with_extremes(bad="0.8")
    finite = np.abs(pixels[np.isfinite(pixels)])
    largest = float(finite.max(initial=0.0)) or 1.0
    norm = SymLogNorm(largest / 10**DECADES, vmin=-largest, vmax=largest)
    image = axes.imshow(pixels, cmap=colors, norm=norm, interpolation="nearest")
    ticks = [-largest, -largest / 10**DECADES, largest / 10**DECADES, largest]
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.9, pad=0.02, ticks=ticks)
    bar.ax.set_yticklabels([f"{tick:.1g}" for tick in ticks], fontsize=6)
    bar.ax.minorticks_off()
    blocks = "\nmeans of blocks" if len(pixels) < size else ""
    axes.set_title(f"{sign}, {size:,} × {size:,}{blocks}")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
