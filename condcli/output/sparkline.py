"""A spectrum in eight characters."""

from __future__ import annotations

from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"
_UNRESOLVED = "·"


def sparkline(decades: Sequence[float | None]) -> str:
    """One block a value of log10(λ/λ_1): full within a decade of λ_1, one step lower each decade.

    None, an eigenvalue that is not resolved, is a dot.
    """
    return "".join(map(_block, decades))


def _block(decades: float | None) -> str:
    if decades is None:
        return _UNRESOLVED
    return _BLOCKS[max(0, len(_BLOCKS) - 1 - int(-decades))]
