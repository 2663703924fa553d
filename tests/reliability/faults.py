"""What goes wrong while a command runs: the disk, memory, the solvers, the person's own code.

FAULTS go through the same helper as bad inputs. The functions are what `inject` names: each is
called in the child, before condcli starts.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from condcli.models import ZOO, write_checkpoint
from tests.reliability.bad_options import PROBE, with_model, with_stats, words
from tests.reliability.cases import Case
from tests.reliability.nth_call import Fault

NETWORK = """
import os, pathlib, shutil, signal, sys
import torch
from torch import nn

calls = []

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        calls.append(x)
        if len(calls) > 3:  # the rehearsal is over
            {line}
        return self.fc(x.flatten(1))
"""
OWN = "probe weights.pt --arch net.py:Net --data digits --samples 256 --batch-size 64"
_ROOM = 64 << 20  # bytes


def network(line: str) -> Callable[[Path], None]:
    """net.py, which runs this line in the midst of a probe, and weights.pt for it."""

    def make(folder: Path) -> None:
        (folder / "net.py").write_text(NETWORK.format(line=line))
        torch.save(
            {"fc.weight": torch.ones(10, 64), "fc.bias": torch.zeros(10)}, folder / "weights.pt"
        )

    return make


def with_everything(folder: Path) -> None:
    """What the commands read: a model, statistics twice, and bounds of a diagnosis."""
    with_model(folder)
    with_stats(folder)
    shutil.copy(folder / "stats.h5", folder / "again.h5")
    (folder / "bounds.toml").write_text("kappa = 9\n")


def disk(line: str, call: str, error: str, code: int, said: str, **where: Any) -> Case:
    """A command during which a call of the system fails."""
    name = " ".join([line, "when", call, "gives", error, *map(str, where.values())])
    return Case(name, words(line, with_everything), code, said, fault=Fault(call, error, **where))


def injected(line: str, function: str, code: int, said: str) -> Case:
    name = f"{function}: {line}"
    return Case(name, words(line, with_everything), code, said, inject=f"{__name__}:{function}")


def own(line: str, code: int, said: str, options: str = "") -> Case:
    """A probe in the midst of which the person's network does this."""
    return Case(f"a forward with {line}", words(f"{OWN} {options}", network(line)), code, said)


def memory_error() -> None:
    """NumPy finds no room for a layer of the statistics."""
    from condcli.statsfile import reading

    reading.plain_array = _raising(MemoryError("Unable to allocate 8. TiB"))


def no_address_space() -> None:
    """The process may not grow any more."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _ROOM, used + _ROOM))


def no_solver() -> None:
    """LAPACK does not converge, whatever its driver."""
    import scipy.linalg

    for solve in (np.linalg.eigvalsh, np.linalg.eigh, np.linalg.svd):
        _become(solve, _unsolved)
    scipy.linalg.eigh = scipy.linalg.eigvalsh = _unsolved
    scipy.linalg.svd = scipy.linalg.svdvals = _unsolved


def solver_of_nan() -> None:
    """LAPACK comes back with numbers that are none."""
    no_solver()
    _become(np.linalg.eigvalsh, _of_nan)


def _become(function: Any, other: Callable[..., Any]) -> None:
    """Let one of NumPy's functions do what another does, also where it is bound already."""
    function.__wrapped__.__code__ = other.__code__


def _unsolved(*_: Any, **__: Any) -> Any:
    from numpy.linalg import LinAlgError  # NumPy, in whose place this runs, has not our names

    raise LinAlgError("did not converge")


def _of_nan(matrix: Any, *_: Any, **__: Any) -> Any:
    return matrix[..., 0] * float("nan")


def large_model(folder: Path) -> None:
    """large.pt: 100 MB of weights."""
    sizes = {"inputs": 64, "classes": 10, "depth": 3, "width": 5000}
    write_checkpoint(
        folder / "large.pt", ZOO["mlp"](**sizes).state_dict(), arch="mlp", arch_args=sizes
    )


def interrupted() -> None:
    """Ctrl-C comes while statistics are read."""
    _signalled(signal.SIGINT)


def terminated() -> None:
    """SIGTERM comes while statistics are read."""
    _signalled(signal.SIGTERM)


def truncated() -> None:
    """The checkpoint is cut short between the look at it and its reading."""
    real = torch.load

    def load(*arguments: Any, **options: Any) -> Any:
        os.truncate("model.pt", 300)
        return real(*arguments, **options)

    torch.load = load


def _signalled(number: int) -> None:
    from condcli.statsfile import reading

    real = reading.plain_array

    def read(*arguments: Any, **options: Any) -> Any:
        os.kill(os.getpid(), number)
        return real(*arguments, **options)

    reading.plain_array = read


def _raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


_BOUNDS = "diagnose stats.h5 --thresholds bounds.toml"
_CURVATURE = "model.pt --data digits --samples 8"
_EXPORTS = {
    form: f"export stats.h5 --to {form} -o new.{form}" for form in ("csv", "npz", "parquet")
}
_PICTURES = {form: f"plot depth stats.h5 -o new.{form} --force" for form in ("png", "svg", "pdf")}
_WRITTEN = {**_EXPORTS, **_PICTURES, "html": "report stats.h5 -o new.html"}
_EVENTS = "export stats.h5 --to tensorboard -o logs"
_NEW = f"{PROBE} -o new.h5"
_SCAFFOLD = "inspect model.pt --scaffold new.py"
_SOLVING = (  # commands that read statistics
    "spectrum stats.h5",
    "spectrum stats.h5 --cache",
    "compare stats.h5 again.h5",
    "dynamics stats.h5",
    "diagnose stats.h5",
    _EXPORTS["csv"],
    _EVENTS,
    _PICTURES["png"],
    _WRITTEN["html"],
)
_UNSOLVED = {
    **dict.fromkeys(_SOLVING, "stats.h5: layer 'fc1': its input moment: no eigen-solver finds"),
    f"exact {_CURVATURE}": "model.pt: layer 'fc1': Σ_x: no eigen-solver finds its eigenvalues",
    _NEW: "model.pt: layer fc1: its weight: no solver finds its singular values",
}
FAULTS = [
    # inputs
    disk(_NEW, "open", "EIO", 3, "model.pt", path="model.pt"),
    disk(_NEW, "open", "EACCES", 3, "model.pt", path="model.pt"),
    disk(_NEW, "open", "EMFILE", 5, "model.pt: too many files are open", path="model.pt"),
    disk(_NEW, "read", "EIO", 3, "model.pt", path="model.pt"),
    disk(_NEW, "read", "EIO", 3, "model.pt", path="model.pt", nth=2),
    disk(_NEW, "read", "ESTALE", 3, "model.pt", path="model.pt", nth=4, lasting=True),
    disk("inspect model.pt", "read", "EIO", 3, "model.pt", path="model.pt"),
    disk("spectrum stats.h5", "open", "EIO", 3, "stats.h5", path="stats.h5"),
    disk("spectrum stats.h5", "open", "ENFILE", 3, "stats.h5", path="stats.h5", nth=2),
    disk("spectrum stats.h5", "read", "EIO", 3, "stats.h5", path="stats.h5"),
    disk("domination stats.h5", "read", "EIO", 3, "stats.h5", path="stats.h5", nth=6),
    disk("neurons stats.h5", "read", "EIO", 3, "stats.h5", path="stats.h5", nth=3),
    disk("inspect stats.h5", "read", "EIO", 3, "stats.h5", path="stats.h5", nth=9),
    disk("compare stats.h5 again.h5", "read", "EIO", 3, "again.h5", path="again.h5"),
    disk("dynamics stats.h5", "read", "EIO", 3, "stats.h5", path="stats.h5", nth=2),
    disk("dynamics stats.h5 --steps", "open", "EACCES", 3, "stats.h5", path="stats.h5"),
    disk(_EXPORTS["npz"], "read", "ESTALE", 3, "stats.h5", path="stats.h5", nth=5, lasting=True),
    disk(_PICTURES["png"], "read", "EIO", 3, "stats.h5", path="stats.h5", nth=4),
    disk(_WRITTEN["html"], "read", "EIO", 3, "stats.h5", path="stats.h5", nth=4),
    disk("diagnose stats.h5", "read", "EIO", 3, "stats.h5", path="stats.h5", nth=7),
    disk(_BOUNDS, "open", "EIO", 3, "bounds.toml", path="bounds.toml"),
    disk(_BOUNDS, "read", "EIO", 3, "bounds.toml", path="bounds.toml"),
    disk(f"exact {_CURVATURE}", "read", "EIO", 3, "model.pt", path="model.pt"),
    disk(f"scale-law {_CURVATURE}", "open", "EIO", 3, "model.pt", path="model.pt"),
    # outputs
    disk(_NEW, "open", "EROFS", 5, "new.h5", lasting=True, path="/."),
    disk(_NEW, "write", "ENOSPC", 5, "new.h5: cannot be written (No space left on device)"),
    disk(_NEW, "write", "EDQUOT", 5, "new.h5: cannot be written", lasting=True),
    disk(_NEW, "write", "EIO", 5, "new.h5: cannot be written"),
    disk(_NEW, "fsync", "EIO", 5, "new.h5: cannot be written"),
    disk(_NEW, "fsync", "ENOSPC", 5, "new.h5: cannot be written"),
    disk(_NEW, "rename", "EIO", 5, "new.h5: cannot be written", lasting=True),
    disk(f"{PROBE} -o stats.h5 --force", "write", "ENOSPC", 5, "stats.h5: cannot be written"),
    disk(f"{PROBE} -o stats.h5 --force", "rename", "EACCES", 5, "stats.h5", lasting=True),
    disk("spectrum stats.h5 --cache", "write", "ENOSPC", 5, "stats.h5"),
    disk("spectrum stats.h5 --cache", "fsync", "EIO", 5, "stats.h5"),
    disk("spectrum stats.h5 --cache", "rename", "EIO", 5, "stats.h5", lasting=True),
    disk(_SCAFFOLD, "write", "ENOSPC", 5, "new.py: cannot be written"),
    disk(_SCAFFOLD, "fsync", "EIO", 5, "new.py: cannot be written"),
    *(
        disk(line, call, error, 5, f"new.{form}: cannot be written")
        for form, line in _WRITTEN.items()
        for call, error in (("write", "ENOSPC"), ("fsync", "EIO"))
    ),
    disk(_EXPORTS["csv"], "rename", "EIO", 5, "new.csv: cannot be written", lasting=True),
    disk(_PICTURES["png"], "rename", "EROFS", 5, "new.png: cannot be written", lasting=True),
    disk(_WRITTEN["html"], "rename", "EDQUOT", 5, "new.html: cannot be written", lasting=True),
    disk(_EVENTS, "write", "ENOSPC", 5, "cannot be written"),
    disk(_EVENTS, "fsync", "EIO", 5, "cannot be written"),
    Case("4 KiB of disk", words(_NEW, with_model), 5, "new.h5: ", limits={"FSIZE": 4096}),
    Case("512 bytes of disk", words(_SCAFFOLD, with_model), 5, "new.py: ", limits={"FSIZE": 512}),
    # memory, files, solvers
    injected("spectrum stats.h5", "memory_error", 5, "memory"),
    injected("domination stats.h5", "memory_error", 5, "memory"),
    injected("compare stats.h5 again.h5", "memory_error", 5, "memory"),
    injected("dynamics stats.h5", "memory_error", 5, "memory"),
    injected("diagnose stats.h5", "memory_error", 5, "memory"),
    injected(_EXPORTS["csv"], "memory_error", 5, "memory"),
    injected(_PICTURES["svg"], "memory_error", 5, "memory"),
    injected(_WRITTEN["html"], "memory_error", 5, "memory"),
    Case(
        "no address space for the weights",
        words("probe large.pt --data digits --samples 20", large_model),
        5,
        "emory",
        inject=f"{__name__}:no_address_space",
    ),
    *(
        injected(line, function, 3, said)
        for line, said in _UNSOLVED.items()
        for function in ("no_solver", "solver_of_nan")
    ),
    # what the person's code does, in the midst of a pass
    own("raise ValueError('odd\\nvalue')", 3, "ValueError: odd value"),
    own("raise MemoryError", 5, "memory"),
    own("raise BaseException('odd')", 3, "BaseException: odd"),
    own("sys.exit(0)", 3, "SystemExit: 0"),
    own("torch.empty(2**48, dtype=torch.uint8)", 5, "memory"),
    own("raise OSError(28, 'No space left on device')", 3, "No space left on device"),
    own("x = x.double()", 3, "weights.pt"),
    own("x = x[:, :, :2]", 3, "weights.pt"),
    own("return None", 3, "weights.pt"),
    own("x = x * float('nan')", 3, "weights.pt"),
]
