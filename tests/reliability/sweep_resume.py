"""`python -m tests.reliability.sweep_resume`: 50 kills and 50 signals at random moments.

Every probe that was ended is resumed, and its file compared with that of an undisturbed run, to the
last bit. Prints what came of it.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections import Counter
from pathlib import Path

import h5py
import numpy as np

from tests.reliability.resuming import Bench, bench
from tests.reliability.runner import Runner

EACH = 50
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CODES = {0, -signal.SIGKILL, *(128 + number for number in SIGNALS)}


def main() -> None:
    """Run the sweep; AssertionError at the first file that differs."""
    source = np.random.default_rng(0)
    with Runner() as runner, tempfile.TemporaryDirectory() as place:
        probes = bench(runner, Path(place) / "bench")
        with h5py.File(probes.whole) as whole:
            seconds = 2 * float(whole.attrs["pass_seconds"])  # with what lies between the batches
        for what, numbers in (("kills", (signal.SIGKILL,)), ("signals", SIGNALS)):
            found = Counter(
                _ended(probes, Path(place) / "run", moment, numbers[i % len(numbers)])
                for i, moment in enumerate(source.uniform(0, seconds, EACH).tolist())
            )
            told = ", ".join(f"{count} {how}" for how, count in sorted(found.items()))
            print(f"{EACH} {what}: {told}; all files the same", flush=True)


def _ended(probes: Bench, folder: Path, moment: float, number: signal.Signals) -> str:
    """End a probe so many seconds after its first batch began, resume it; where it was ended."""
    probes.folder(folder)
    outcome = probes.ended(folder, 1, number, after=moment)
    assert outcome.code in CODES, outcome
    if (folder / "out.h5").exists():
        how = "after the output was written"
    elif (folder / "out.h5.state").exists():
        how = "with a state to go on from"
    else:
        how = "before there was a state"
    probes.ends_the_same(folder)
    shutil.rmtree(folder)
    return how


if __name__ == "__main__":
    main()
