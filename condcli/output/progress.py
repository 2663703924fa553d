"""A progress bar on stderr, for a person who waits at a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from condcli.output.terminal import on_terminal


class RateColumn(ProgressColumn):
    """Examples a second."""

    def render(self, task: Task) -> Text:
        """The rate so far."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.0f} examples/s")


@contextmanager
def examples_progress(title: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A function that takes the examples done and their total; shows rate and time left."""
    console = Console(stderr=True)
    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )
    # Rich takes any stream for a terminal where FORCE_COLOR is set.
    hidden = quiet or not on_terminal()
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
