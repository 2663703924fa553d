"""Several processes of torchrun measure what one does; what fails is told once and leaves no file.

All jobs are started side by side: most of their time is the import of torch.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import condcli
from tests.capture.parts import NETS, WIDE, assert_same
from tests.capture.rank_program import IDLE_BUT_COMPUTED
from tests.capture.test_wide import moment_of, sides

PATIENCE = 120
ROOT = Path(__file__).parents[1]
NAPPING = """
    import os, time
    from pathlib import Path
    from torch import nn

    class Napping(nn.Sequential):
        def forward(self, x):
            if len(x) == 4 and os.environ["RANK"] == "1":  # in the pass, not in the rehearsal
                Path("napping").write_text(str(os.getpid()))
                time.sleep(60)
            return super().forward(x)

    def build():
        return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))

    def build_napping():
        return Napping(*build())
"""


@dataclass(frozen=True)
class Job:
    """What torchrun was started for, and where."""

    process: subprocess.Popen[str]
    folder: Path

    def ended(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err

    def complaints(self) -> list[str]:
        """The lines that condcli says of a job that has failed, leaving no file."""
        code, out, err = self.ended()
        assert code != 0
        assert out == ""
        assert not list(self.folder.glob("*.h5")) + list(self.folder.glob(".*"))
        return [line for line in err.splitlines() if line.startswith("condcli: ")]


def torchrun(folder: Path, processes: int, *arguments: object) -> Job:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "-m", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    return Job(process, folder)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Job]]:
    """A program that measures every net in three processes, and commands in two."""
    commands = {
        "good": "good.npz --arch nets.py:build",
        "bad": "bad.npz --arch nets.py:build",
        "killed": "good.npz --arch nets.py:build_napping",
    }
    folder = tmp_path_factory.mktemp("program")
    found = {"program": torchrun(folder, 3, "tests.capture.rank_program", folder)}
    for name, options in commands.items():
        folder = tmp_path_factory.mktemp(name)
        _write_inputs(folder)
        probe = f"condcli probe net.pt --batch-size 4 --dtype float64 -o all.h5 --data {options}"
        found[name] = torchrun(folder, 2, *probe.split())
    yield found
    for job in found.values():
        job.process.kill()


def _write_inputs(folder: Path) -> None:
    (folder / "nets.py").write_text(textwrap.dedent(NAPPING), encoding="utf-8")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    torch.save(net.state_dict(), folder / "net.pt")
    x, y = np.random.default_rng(0).standard_normal((20, 6)), np.arange(20) % 3
    np.savez(folder / "good.npz", x=x, y=y)
    x[5, 2] = np.nan  # in the second batch
    np.savez(folder / "bad.npz", x=x, y=y)


def test_three_processes_measure_what_one_does(jobs: dict[str, Job]) -> None:
    code, _, err = jobs["program"].ended()
    assert code == 0, err
    for number, (name, net) in enumerate(NETS.items()):
        one = condcli.probe(net.model(), net.batches(), dtype="float64", **net.options)
        together = condcli.read(jobs["program"].folder / f"{number}.h5")
        assert_same(together, one)
        assert len(together.layers) > 1, name


def test_three_processes_sketch_what_is_too_wide(jobs: dict[str, Job]) -> None:
    """Sums of sketches are those of one process; rows that it would keep are sketched, too."""
    code, _, err = jobs["program"].ended()
    assert code == 0, err
    for number, (name, net) in enumerate(WIDE.items(), start=len(NETS)):
        one = condcli.probe(net.model(), net.batches(), dtype="float64", **net.options)
        together = condcli.read(jobs["program"].folder / f"{number}.h5")
        for layer_name, layer, side in sides(one):
            other = together.layers[layer_name]
            size = float(np.abs(moment_of(layer, side)).max())
            np.testing.assert_allclose(
                moment_of(other, side), moment_of(layer, side), rtol=0, atol=1e-8 * size
            )
            if getattr(layer, f"{side}_error") is not None:
                trace = getattr(layer, f"{side}_trace")
                assert getattr(other, f"{side}_trace") == pytest.approx(trace, rel=1e-12)
                assert getattr(other, f"{side}_error") > 0, name


def test_a_computed_weight_that_some_processes_never_saw_is_refused(jobs: dict[str, Job]) -> None:
    code, _, err = jobs["program"].ended()
    assert code == 0, err
    said = (jobs["program"].folder / IDLE_BUT_COMPUTED).read_text(encoding="utf-8")
    assert "experts.1.0: its weight is computed, and only" in said


def test_the_command_writes_and_speaks_once(jobs: dict[str, Job], tmp_path: Path) -> None:
    job = jobs["good"]
    code, out, err = job.ended()
    assert code == 0, err
    assert out.count("probed") == 2  # the panel's title, and a line in it
    assert "condcli: error" not in err
    one = condcli.probe(
        condcli.load(job.folder / "net.pt", arch=f"{job.folder}/nets.py:build"),
        job.folder / "good.npz",
        batch_size=4,
        dtype="float64",
    )
    together = condcli.read(job.folder / "all.h5")
    assert together.provenance.data_sha256 == one.provenance.data_sha256
    for name, layer in one.layers.items():
        np.testing.assert_allclose(together.layers[name].grad_moment, layer.grad_moment, 1e-10)


def test_what_one_process_finds_wrong_is_told_once(jobs: dict[str, Job]) -> None:
    (line,) = jobs["bad"].complaints()
    assert line.startswith("condcli: error: ")
    assert "bad.npz: the input of example 5 holds NaN" in line


def test_a_process_that_is_killed_ends_the_job_with_one_line(jobs: dict[str, Job]) -> None:
    job = jobs["killed"]
    napping, deadline = job.folder / "napping", time.monotonic() + PATIENCE
    while not napping.exists() or not napping.read_text():
        assert job.process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(int(napping.read_text()), signal.SIGKILL)
    (line,) = job.complaints()
    assert line.startswith("condcli: error: another process of this job died")
