"""What a checkpoint holds, in the words of whoever saved it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

# What training code calls the number of its steps.
STEPS = ("step", "global_step", "iteration", "iter", "num_updates")
LARGEST_STEP = 2**63 - 1  # what a statistics file can hold
RAN_CODE = ("its pickled code was run (--trust)",)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Content:
    """What was saved, before weights are looked for in it."""

    data: object  # a mapping, a module, or whatever else someone saved
    format: str
    files: tuple[Path, ...]  # it was read from
    step: int | None = None  # of training, where a file beside the weights tells it
    unread: tuple[str, ...] = ()  # names of pickled objects that were left unread
    notes: tuple[str, ...] = ()


def is_step(value: object) -> TypeGuard[int]:
    """Whether a value is a number of steps, rather than damage or something else of that name."""
    return type(value) is int and 0 <= value <= LARGEST_STEP
