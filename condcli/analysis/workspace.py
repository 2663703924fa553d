"""The memory that OpenBLAS works in, taken while it is known to be there.

Where it finds none in the midst of a solver, OpenBLAS ends the process with a line of its own and
exit code 1. It keeps what it has taken once.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from condcli.machine import MIB

_MOST = 160 * MIB  # that any build of OpenBLAS takes for one thread


@cache
def require_workspace() -> None:
    """Have NumPy's OpenBLAS take its memory; MemoryError where there is too little."""
    np.empty(_MOST, np.uint8)
    np.linalg.solve(np.eye(2), np.ones(2))


@cache
def require_workspace_of_scipy() -> None:
    """The same of SciPy's, which has its own."""
    from scipy.linalg.lapack import dgesv

    np.empty(_MOST, np.uint8)
    dgesv(np.eye(2), np.ones(2))
