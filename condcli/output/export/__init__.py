"""A run, written for other programs: one file a form.

Names of layers and activations are escaped, as in every CSV of condcli's: some of these programs
show them in a terminal, and some refuse what is no Unicode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from condcli.analysis.trajectory import Point
from condcli.output.export.arrays import to_npz
from condcli.output.export.tables import to_csv, to_parquet
from condcli.output.export.tensorboard import to_tensorboard
from condcli.output.export.wandb import to_wandb

Form = Literal["csv", "npz", "parquet", "tensorboard", "wandb-offline"]
Writer = Callable[..., Path]

# Each takes the points, the output and force=, and gives what was written: the output itself, or
# in a folder the file or folder of this run.
WRITERS: Mapping[Form, Writer] = {
    "csv": to_csv,
    "npz": to_npz,
    "parquet": to_parquet,
    "tensorboard": to_tensorboard,
    "wandb-offline": to_wandb,
}
FOLDERS = frozenset({"tensorboard", "wandb-offline"})  # their output is a folder


def export(points: Sequence[Point], form: Form, output: Path, *, force: bool = False) -> Path:
    """Write a run; where it is. Raises `UsageError` that names the extra of a missing library.

    `CannotFinishError` where it cannot be written, or something is there and `force` is not given.
    """
    return WRITERS[form](points, output, force=force)
