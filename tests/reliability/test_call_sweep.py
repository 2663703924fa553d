"""The first few calls of each kind fail; sweep_calls.py tries all of them."""

from __future__ import annotations

import pytest

from tests.reliability.runner import Runner
from tests.reliability.sweep_calls import ERRORS, faults


@pytest.mark.parametrize("command", ["cache", "domination"])
@pytest.mark.parametrize("call", ERRORS)
def test_a_call_that_fails_is_refused_or_got_over(command: str, call: str, runner: Runner) -> None:
    if runner.library is None:
        pytest.skip("no C compiler, or no LD_PRELOAD")
    ends = faults(runner, command, call, most=3)
    assert ends.total() > 0 or (command == "domination" and call in ("write", "fsync", "rename"))
