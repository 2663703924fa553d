"""A figure becomes a file: PNG, SVG or PDF, the same bytes for the same figure."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condcli.errors import UsageError
from condcli.output.escaping import escaped
from condcli.output.plots.style import styled
from condcli.statsfile import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# By the ending: where the description goes, and what would tell the time or the machine.
_METADATA: dict[str, tuple[str, dict[str, None]]] = {
    "png": ("Description", {"Software": None}),
    "svg": ("Description", {"Date": None, "Creator": None}),
    "pdf": ("Subject", {"CreationDate": None, "Creator": None, "Producer": None}),
}


def form_of(path: Path) -> str:
    """png, svg or pdf, by the file's ending; `UsageError` for another."""
    form = path.suffix.lower().removeprefix(".")
    if form not in _METADATA:
        raise UsageError(
            f"{path} has the ending of no picture that can be written",
            "let it end in .png, .svg or .pdf",
        )
    return form


def save(
    draw: Callable[[], Figure], path: Path, *, description: str, dpi: int, force: bool
) -> Figure:
    """Draw a figure and put it at `path` whole or not at all; the figure.

    Raises `UsageError` for another ending and `CannotFinishError` where it cannot be written.
    """
    form = form_of(path)
    key, silent = _METADATA[form]
    metadata: dict[str, Any] = {**silent, key: escaped(description)}
    with styled():
        figure = draw()
        image = io.BytesIO()  # matplotlib's PDF has an error of its own after one of the disk
        figure.savefig(image, format=form, dpi=dpi, metadata=metadata)
        with replacing(path, force=force) as file:
            file.write(image.getbuffer())
    return figure
