"""A run that is still written: what each new file of its folder adds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from condcli.analysis.steps import Numbered, inside, numbered
from condcli.analysis.trajectory import Point, point_of, require_one_network
from condcli.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """All points of a run so far, and those that are new or were written anew."""

    points: list[Point]  # by step
    new: list[Point]


def growing(folder: Path, pause: Callable[[], None], **options: Any) -> Iterator[Growth]:
    """The run whenever its folder has another file, for ever; `pause` is called in between.

    Each file is read once. Options and errors are those of `point_of` and `trajectory`; a file
    that goes while it is read is none.
    """
    seen: dict[Path, tuple[object, Point]] = {}
    while True:
        files = inside(folder)
        try:
            if any(_version(file) != seen.get(file, (None,))[0] for file in files):
                yield _grown(numbered(files), seen, options)
        except (InputError, FileNotFoundError):
            if all(file.exists() for file in files):
                raise
        pause()


def _grown(
    items: list[Numbered], seen: dict[Path, tuple[object, Point]], options: dict[str, Any]
) -> Growth:
    points, new = [], []
    for item in items:
        version, point = seen.get(item.path, (None, None))
        if point is None or version != _version(item.path):
            point = point_of(item, **options)
            new.append(point)
        point = replace(point, step=item.step, step_from=item.step_from)
        seen[item.path] = (_version(item.path), point)
        points.append(point)
        require_one_network(points[0], point)
    return Growth(points=points, new=new)


def _version(file: Path) -> object:
    """What changes when a file is written anew."""
    found = file.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size
