"""Which layers an analysis looks at."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from condcli.errors import UsageError
from condcli.stats import LayerStats, ProbeStats


def selected_layers(stats: ProbeStats, pattern: str | None) -> Iterator[LayerStats]:
    """The layers whose names match a glob, all without one, one at a time in forward order.

    Raises `UsageError` when the pattern matches no layer.
    """
    names = [name for name in stats.layers if pattern is None or fnmatchcase(name, pattern)]
    if pattern is not None and not names:
        known = ", ".join(list(stats.layers)[:5]) or "none"
        raise UsageError(f"no layer matches {pattern!r}", f"the layers are named {known} …")
    return (stats.layers[name] for name in names)
