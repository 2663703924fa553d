"""Which layers an analysis looks at."""

from __future__ import annotations

from fnmatch import fnmatchcase

from condcli.errors import UsageError
from condcli.stats import ProbeStats


def selected_names(stats: ProbeStats, pattern: str | None) -> list[str]:
    """The names of the layers that match a glob, all without one, in forward order.

    Raises `UsageError` when the pattern matches no layer.
    """
    names = [name for name in stats.layers if pattern is None or fnmatchcase(name, pattern)]
    if pattern is not None and not names:
        known = ", ".join(list(stats.layers)[:5]) or "none"
        raise UsageError(f"no layer matches {pattern!r}", f"the layers are named {known} …")
    return names
