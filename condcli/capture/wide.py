"""Which layers are wider than ``max_dim``, and what keeping or sketching their rows takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from condcli.capture.nystrom import columns_of
from condcli.capture.options import Options

KEPT_COPIES = 2  # of the rows: themselves, and the factor that is made of them
# A product's entry in float64: its sum, one more of a batch, and, when the factor is made, that.
SKETCH_BYTES = 40


@dataclass(frozen=True)
class WideSide:
    """The inputs, or the gradients, of a layer that are longer than ``max_dim``."""

    features: int  # of all groups
    rows: float  # an example


WideSides = Mapping[str, Mapping[str, WideSide]]  # by the layer, and "input" or "grad"


def sketched(wide: WideSides, examples: int, options: Options) -> frozenset[str]:
    """The layers of which so many examples make more rows than are kept."""
    return frozenset(
        name
        for name, sides in wide.items()
        if any(_is_sketched(side, examples, options) for side in sides.values())
    )


def wide_need(wide: WideSides, examples: int, options: Options) -> tuple[float, str]:
    """The bytes that wide layers take, and what makes them fewer."""
    sizes = {
        name: sum(_bytes(side, examples, options) for side in sides.values())
        for name, sides in wide.items()
    }
    largest = max(sizes, key=sizes.__getitem__)
    way_out = f"leave wide layers out, such as --exclude {largest}"
    rows = min(side.rows for side in wide[largest].values()) * examples
    if 1 < rows <= options.max_dim:
        way_out = f"pass --max-dim {int(rows) - 1}, to have them sketched, or {way_out}"
    return sum(sizes.values()), way_out


def _bytes(side: WideSide, examples: int, options: Options) -> float:
    if _is_sketched(side, examples, options):
        return float(SKETCH_BYTES * side.features * sum(columns_of(options.max_dim)))
    return KEPT_COPIES * options.dtype.itemsize * side.features * side.rows * examples


def _is_sketched(side: WideSide, examples: int, options: Options) -> bool:
    return side.rows * examples > options.max_dim
