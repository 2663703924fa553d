"""The n-th call of each kind fails, on any file of the command's folder, for every n that there is.

`python -m tests.reliability.sweep_calls` tries all; test_call_sweep.py tries the first few.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

from condcli.statsfile import write
from tests.reliability.invariants import State, leaves_nothing, says_one_line, state
from tests.reliability.nth_call import Fault
from tests.reliability.runner import Outcome, Runner
from tests.reliability.sweep_writing import COMMANDS as WRITING
from tests.reliability.sweep_writing import STATISTICS, is_whole, output_of, prepare
from tests.synthetic import layer, stats, wide

_CURVATURE = "model.pt --data digits --samples 4"
COMMANDS = {
    **WRITING,
    "spectrum": "spectrum in.h5",
    "factors": "spectrum wide.h5",
    "domination": "domination in.h5",
    "neurons": "neurons in.h5",
    "verify": "verify in.h5",
    "diagnose": "diagnose in.h5 --thresholds bounds.toml",
    "compare": "compare in.h5 out.h5",
    "dynamics": "dynamics in.h5",
    "exact": f"exact {_CURVATURE}",
    "scale-law": f"scale-law {_CURVATURE}",
    "inspect": "inspect model.pt",
    "scaffold": "inspect model.pt --scaffold net.py --force",
}
ERRORS = {
    "open": "EMFILE",
    "read": "EIO",
    "write": "ENOSPC",
    "fsync": "EIO",
    "rename": "EIO",
}
SEVERE = (3, 5)  # exit codes of inputs, and of disks


def faults(runner: Runner, name: str, call: str, most: int | None = None) -> Counter[str]:
    """How the command ended when its first, second, … call of this kind failed; AssertionError."""
    ends = Counter[str]()
    for nth in islice(count(1), most):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place).resolve()
            prepare(folder, width=8)
            layers = (layer(f"fc{i}", order=i) for i in range(3))  # more would only take longer
            write(stats(*layers), folder / "in.h5", force=True)
            write(stats(wide("fc1"), wide("fc2", order=1, error=0.5)), folder / "wide.h5")
            (folder / "net.py").write_text("# to be replaced\n")
            (folder / "bounds.toml").write_text("kappa = 9\n")
            end = _end(runner, folder, name, Fault(call, ERRORS[call], nth))
        if end is None:
            break
        ends[end] += 1
    return ends


def _end(runner: Runner, folder: Path, name: str, fault: Fault) -> str | None:
    """What came of it; None where there are not so many calls."""
    before = state(folder)
    outcome = runner.run(COMMANDS[name].split(), folder, fault=fault)
    if not outcome.struck:
        return None
    if outcome.code == 0:
        _is_sound(runner, folder, name, outcome, before)
        return "got over it"
    assert outcome.code in SEVERE, (name, fault, outcome)
    says_one_line(outcome, "")
    leaves_nothing(outcome, folder, before)
    return "refused"


def _is_sound(runner: Runner, folder: Path, name: str, outcome: Outcome, before: State) -> None:
    """A command that claims to have succeeded has: what it wrote and said is what it always is, and
    all else is as it was.
    """
    own = {output_of(name)} if name in WRITING else {"net.py"} if name == "scaffold" else set()
    after = state(folder)
    assert {file for file in {*before, *after} if before.get(file) != after.get(file)} <= own
    if name in STATISTICS:  # these also say when they were written
        assert is_whole(folder / output_of(name))
        return
    written = [(folder / file).read_bytes() for file in own]
    assert outcome.out == runner.run(COMMANDS[name].split(), folder).out
    assert written == [(folder / file).read_bytes() for file in own]


def every(runner: Runner) -> Iterator[tuple[str, str, Counter[str]]]:
    """Each command and kind of call, and how they ended."""
    for name in COMMANDS:
        for call in ERRORS:
            yield name, call, faults(runner, name, call)


def main() -> None:
    """All of it, and a line of what was tried."""
    total, by_call = Counter[str](), Counter[str]()
    with Runner() as runner:
        assert runner.library is not None, "this needs a C compiler and LD_PRELOAD"
        for _, call, ends in every(runner):
            total += ends
            by_call[call] += ends.total()
    calls = ", ".join(f"{number} {call}" for call, number in by_call.items())
    print(
        f"n-th call fails: {total.total()} calls of {len(COMMANDS)} commands ({calls}): "
        f"{total['refused']} refused in one line, {total['got over it']} done all the same"
    )


if __name__ == "__main__":
    main()
