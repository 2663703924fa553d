"""The eigenvalues of networks with very many layers: a column of pixels a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from condcli.analysis.condition import place
from condcli.analysis.eigenvalues import Spectrum
from condcli.output.plots.style import WIDTH, label, shades
from condcli.stats import FloatArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW = 1.9  # inches
_UNRESOLVED = "0.85"


def map_figure(
    names: Sequence[str], rows: Sequence[Sequence[Sequence[Spectrum]]], titles: Sequence[str]
) -> Figure:
    """A row of panels a file, a panel a matrix, whose spectra are those of its layers.

    The colour at a height of p % is λ_⌈p·d⌉; grey where it is below the noise floor.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, _ROW * len(rows) + 0.3), layout="constrained")
    cells = figure.subplots(len(rows), len(titles), squeeze=False, sharex=True, sharey=True)
    columns = zip(*rows, strict=True)
    for axes, title, column in zip(cells.T, titles, columns, strict=True):
        _draw_column(axes, title, [pixels(spectra) for spectra in column])
    for axes, name in zip(cells[:, 0], names, strict=True):
        axes.set_ylabel(f"{label(name)}\nplace, % of d")
    for axes in cells[-1]:
        axes.set_xlabel("layer, in forward order")
    return figure


def pixels(spectra: Sequence[Spectrum]) -> FloatArray:
    """λ_⌈p·d⌉ for p of 1, 2, … 100 %, (100, layers); NaN where it is not resolved."""
    found = np.full((100, len(spectra)), np.nan)
    for column, spectrum in zip(found.T, spectra, strict=True):
        values = np.sort(spectrum.lower, axis=None)[::-1]
        chosen = values[[place(percent, spectrum.size) - 1 for percent in range(1, 101)]]
        column[:] = np.where(chosen > 0, chosen, np.nan)
    return found


def _draw_column(cells: Any, title: str, maps: Sequence[FloatArray]) -> None:
    from matplotlib.colors import LogNorm

    known = np.concatenate([image[np.isfinite(image)] for image in maps])
    norm = LogNorm(known.min(initial=np.inf), known.max()) if known.size else LogNorm(1, 10)
    cells[0].set_title(title)
    for axes, image in zip(cells, maps, strict=True):
        axes.grid(visible=False)
        drawn = axes.imshow(
            image,
            aspect="auto",
            cmap=shades().with_extremes(bad=_UNRESOLVED),
            extent=(0.5, image.shape[1] + 0.5, 100.5, 0.5),
            interpolation="nearest",
            norm=norm,
        )
    cells[0].figure.colorbar(drawn, ax=list(cells), pad=0.02)
