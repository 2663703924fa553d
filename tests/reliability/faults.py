"""What goes wrong while a command runs: the disk, memory, the solvers, the person's own code.

FAULTS go through the same helper as bad inputs. The functions are what `inject` names: each is
called in the child, before condcli starts.
"""

from __future__ import annotations

import os
import resource
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


def disk(line: str, call: str, error: str, code: int, said: str, **where: Any) -> Case:
    """A command during which a call of the system fails."""
    name = " ".join([line, "when", call, "gives", error, *map(str, where.values())])
    return Case(
        name, words(line, with_model, with_stats), code, said, fault=Fault(call, error, **where)
    )


def injected(line: str, function: str, code: int, said: str) -> Case:
    name = f"{function}: {line}"
    return Case(
        name, words(line, with_model, with_stats), code, said, inject=f"{__name__}:{function}"
    )


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

    failing = _raising(np.linalg.LinAlgError("did not converge"))
    np.linalg.eigvalsh = np.linalg.eigh = np.linalg.svd = failing
    scipy.linalg.eigh = scipy.linalg.eigvalsh = scipy.linalg.svd = scipy.linalg.svdvals = failing


def solver_of_nan() -> None:
    """LAPACK comes back with numbers that are none."""
    import scipy.linalg

    np.linalg.eigvalsh = scipy.linalg.eigvalsh = lambda matrix, *_, **__: matrix[..., 0] * np.nan
    no_svd = _raising(np.linalg.LinAlgError("did not converge"))
    np.linalg.svd = scipy.linalg.svd = scipy.linalg.svdvals = no_svd
    scipy.linalg.eigh = no_svd


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


_NEW = f"{PROBE} -o new.h5"
_SCAFFOLD = "inspect model.pt --scaffold new.py"
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
    Case("4 KiB of disk", words(_NEW, with_model), 5, "new.h5: ", limits={"FSIZE": 4096}),
    Case("512 bytes of disk", words(_SCAFFOLD, with_model), 5, "new.py: ", limits={"FSIZE": 512}),
    # memory, files, solvers
    injected("spectrum stats.h5", "memory_error", 5, "memory"),
    injected("domination stats.h5", "memory_error", 5, "memory"),
    Case(
        "no address space for the weights",
        words("probe large.pt --data digits --samples 20", large_model),
        5,
        "emory",
        inject=f"{__name__}:no_address_space",
    ),
    injected("spectrum stats.h5", "no_solver", 3, "no eigen-solver finds its eigenvalues"),
    injected("spectrum stats.h5", "solver_of_nan", 3, "no eigen-solver finds its eigenvalues"),
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
