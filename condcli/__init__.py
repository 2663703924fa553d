"""Layer-wise conditioning analysis of trained networks (Huang et al., ECCV 2020).

`load` opens a checkpoint; `probe` measures a network into a `ProbeStats`, `write` and `read` keep
it in a file, `merge` puts shards together; `spectrum`, `domination` and `neurons` turn it into
rows, `diagnose` into findings, `trajectory` the files of a run into points, and `dynamics` and
`turning_points` those into rows. `Recorder` writes such files while a network trains. Each is
imported when first asked for, so that what reads a file does not wait for torch.
"""

from __future__ import annotations

# A constant that type checkers know: importing typing takes longer than all else here.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from condcli.analysis.compare import compare
    from condcli.analysis.diagnosis import diagnose
    from condcli.analysis.domination import domination
    from condcli.analysis.dynamics import dynamics
    from condcli.analysis.leading import leading_eigenvalues
    from condcli.analysis.merge import merge
    from condcli.analysis.neurons import neurons
    from condcli.analysis.spectrum import eigenvalues, spectrum
    from condcli.analysis.trajectory import trajectory
    from condcli.analysis.turning_points import turning_points
    from condcli.api import probe
    from condcli.curvature.api import curvature_operator, exact, exact_estimates, scale_law
    from condcli.errors import CondcliError
    from condcli.models import load
    from condcli.recorder import Recorder
    from condcli.stats import ProbeStats
    from condcli.statsfile import read, write

__version__ = "0.1.0"
__all__ = [
    "CondcliError",
    "ProbeStats",
    "Recorder",
    "compare",
    "curvature_operator",
    "diagnose",
    "domination",
    "dynamics",
    "eigenvalues",
    "exact",
    "exact_estimates",
    "leading_eigenvalues",
    "load",
    "merge",
    "neurons",
    "probe",
    "read",
    "scale_law",
    "spectrum",
    "trajectory",
    "turning_points",
    "write",
]

_HOMES = {
    "CondcliError": "condcli.errors",
    "ProbeStats": "condcli.stats",
    "Recorder": "condcli.recorder",
    "compare": "condcli.analysis.compare",
    "curvature_operator": "condcli.curvature.api",
    "diagnose": "condcli.analysis.diagnosis",
    "domination": "condcli.analysis.domination",
    "dynamics": "condcli.analysis.dynamics",
    "eigenvalues": "condcli.analysis.spectrum",
    "exact": "condcli.curvature.api",
    "exact_estimates": "condcli.curvature.api",
    "leading_eigenvalues": "condcli.analysis.leading",
    "load": "condcli.models",
    "merge": "condcli.analysis.merge",
    "neurons": "condcli.analysis.neurons",
    "probe": "condcli.api",
    "read": "condcli.statsfile",
    "scale_law": "condcli.curvature.api",
    "spectrum": "condcli.analysis.spectrum",
    "trajectory": "condcli.analysis.trajectory",
    "turning_points": "condcli.analysis.turning_points",
    "write": "condcli.statsfile",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'condcli' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
