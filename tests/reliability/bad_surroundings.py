"""Environments that are not what condcli, a shell or torchrun would make of them."""

from __future__ import annotations

from tests.reliability.bad_options import PROBE, with_model, words
from tests.reliability.cases import Case

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x"}
ASKED = "_CONDCLI_COMPLETE"


def completing(name: str, said: str, **environment: str) -> Case:
    return Case(f"completion: {name}", words(""), 2, said, env=environment)


CASES = [
    completing("no place", "COMP_CWORD=x", _CONDCLI_COMPLETE="complete_bash", COMP_CWORD="x"),
    completing("a fraction", "COMP_CWORD=1.5", _CONDCLI_COMPLETE="complete_bash", COMP_CWORD="1.5"),
    completing("a negative place", "COMP_CWORD=-1", _CONDCLI_COMPLETE="complete_bash",
               COMP_CWORD="-1"),
    completing("no shell", f"{ASKED}=complete_vi", _CONDCLI_COMPLETE="complete_vi"),
    completing("no request", f"{ASKED}=x", _CONDCLI_COMPLETE="x"),
    Case("WORLD_SIZE=abc", words(PROBE, with_model), 2, "WORLD_SIZE=abc",
         env=TORCHRUN | {"WORLD_SIZE": "abc"}),
    Case("WORLD_SIZE=-2", words(PROBE, with_model), 2, "WORLD_SIZE=-2",
         env=TORCHRUN | {"WORLD_SIZE": "-2"}),
]  # fmt: skip
