"""A probe that is stopped and resumed in this process, and what it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

import condcli
from condcli.stats import ProbeStats

# What tells of one run, and not of what it measured.
OF_A_RUN = {"created", "pass_seconds", "peak_memory_bytes"}


def stopping(after: int) -> Callable[[int, int], None]:
    """A progress that ends the run, as a kill does, in the batch after so many saved ones."""
    batches = count()

    def progress(done: int, total: int) -> None:
        if next(batches) > after:  # the first call tells where the run begins
            raise KeyboardInterrupt

    return progress


def resumed(
    model: Callable[[], nn.Module], data: Any, state: Path, *, after: int, **options: Any
) -> ProbeStats:
    """The statistics of a run that is stopped after so many batches and resumed with a copy."""
    try:
        condcli.probe(
            model(), data(), save=state, save_every=0, progress=stopping(after), **options
        )
    except KeyboardInterrupt:
        assert state.exists()
    else:
        raise AssertionError("there was nothing left to resume")
    return condcli.probe(model(), data(), save=state, resume=True, **options)


def assert_identical(stats: ProbeStats, other: ProbeStats) -> None:
    """Every field of every record, to the last bit."""
    _assert_records_identical(stats.provenance, other.provenance)
    for section in ("layers", "activations", "skipped"):
        records, others = getattr(stats, section), getattr(other, section)
        assert list(records) == list(others)
        for name, record in records.items():
            _assert_records_identical(record, others[name])


def _assert_records_identical(record: Any, other: Any) -> None:
    for item in fields(record):
        if item.name in OF_A_RUN:
            continue
        mine, theirs = getattr(record, item.name), getattr(other, item.name)
        where = f"{getattr(record, 'name', 'provenance')}.{item.name}"
        if isinstance(theirs, np.ndarray):
            assert mine.dtype == theirs.dtype, where
            assert np.array_equal(mine, theirs, equal_nan=True), where
        else:
            assert mine == theirs, where
