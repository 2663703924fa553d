"""What shows that a file's code ran."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


class Canary:
    """A pickle that touches a file when it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.file,)
