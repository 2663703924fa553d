"""Exact curvature and the scale law: what is asked of them in vain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.reliability.bad_options import text, with_model, with_stats, words
from tests.reliability.cases import Case


def exact(options: str, said: str, code: int = 2, *prepare: Callable[[Path], None]) -> Case:
    return _measuring("exact", options, said, code, *prepare)


def scaling(options: str, said: str, code: int = 2, *prepare: Callable[[Path], None]) -> Case:
    return _measuring("scale-law", options, said, code, *prepare)


def _measuring(
    command: str, options: str, said: str, code: int, *prepare: Callable[[Path], None]
) -> Case:
    line = f"{command} model.pt --data digits --samples 20 {options}"
    return Case(f"{command} {options}", words(line, with_model, *prepare), code, said)


def _truncated(folder: Path) -> None:
    content = (folder / "model.pt").read_bytes()
    (folder / "model.pt").write_bytes(content[: len(content) // 2])


FORWARD = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        {line}
"""


def failing(command: str, line: str, code: int, said: str) -> Case:
    """A network whose forward does this."""

    def build(folder: Path) -> list[str]:
        import torch

        weights = {"fc.weight": torch.ones(10, 64), "fc.bias": torch.zeros(10)}
        torch.save(weights, folder / "weights.pt")
        (folder / "net.py").write_text(FORWARD.format(line=line))
        arguments = f"{command} weights.pt --arch net.py:Net --data digits --samples 20"
        return arguments.split()

    return Case(f"{command}, a forward with {line}", build, code, said)


CASES = [
    exact("--matrix odd", "'--matrix'"),
    exact("--mc-samples 0", "'--mc-samples'"),
    exact("--mc-samples 3 --matrix ggn", "mc-samples"),
    exact("--percent 0", "percentage 0 is out of range"),
    exact("--percent 50,many", "50,many"),
    exact("--percent 50 --matrix-free", "--matrix-free shows no κ for --percent"),
    exact("--vectors 10", "--vectors has no use without --matrix-free"),
    exact("--vectors 1 --matrix-free", "'--vectors'"),
    exact("--samples 0", "--samples 0 is no number of examples"),
    exact("--batch-size auto", "'--batch-size'"),
    exact("--batch-size 0", "'--batch-size'"),
    exact("--device tpu", "device 'tpu' does not exist"),
    exact("--layers nowhere*", "nowhere*"),
    exact("--exclude *", "--exclude"),
    exact("--loss odd", "odd"),
    exact("--fail-on size>1", "there is no column 'size' here"),
    exact("--sort size --matrix-free", "there is no column 'size' here"),
    exact("--arch nowhere.py:f", "nowhere.py", 3),
    exact("--split elsewhere", "elsewhere"),
    exact("--norm running --matrix hessian", "model.pt", 3, _truncated),
    scaling("--alpha 0", "alpha"),
    scaling("--alpha 1", "alpha"),
    scaling("--alpha nan", "alpha"),
    scaling("--alpha -2", "alpha"),
    scaling("--effects", "--effects shows one scaled layer"),
    scaling("--layers nowhere*", "leaves no layer to scale"),
    scaling("--exclude *", "leaves no layer to scale"),
    scaling("--samples many", "--samples many is no number of examples"),
    scaling("--device cuda:99", "there is no cuda:99 device here"),
    scaling("--sort size", "there is no column 'size' here"),
    scaling("--fail-on size>1", "there is no column 'size' here"),
    scaling("--arch odd.py:build", "odd.py, line 1", 3, text("odd.py", "def build(:\n")),
    scaling("--alpha 2", "model.pt", 3, _truncated),
    Case("exact nowhere", words("exact nowhere.pt --data digits"), 3, "nowhere.pt"),
    Case("scale-law nowhere", words("scale-law nowhere.pt --data digits"), 3, "nowhere.pt"),
    Case("exact statistics", words("exact stats.h5 --data digits", with_stats), 3, "stats.h5"),
    Case("scale-law without data", words("scale-law model.pt", with_model), 2, "what data"),
    *(
        failing(command, line, code, said)
        for command in ("exact", "exact --matrix-free", "scale-law")
        for line, code, said in (
            ("raise ValueError('odd\\nvalue')", 3, "ValueError: odd value"),
            ("return self.fc(x.flatten(1)) * float('nan')", 3, "weights.pt"),
            ("raise MemoryError", 5, "memory"),
        )
    ),
]
