"""A run as Weights & Biases keeps it offline: ``wandb sync`` sends it, if ever.

The library works in a folder of its own beside the result, reads no settings but ours and uses no
network; only the run itself is then put in place.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from condcli.analysis.metrics import values
from condcli.analysis.trajectory import Point
from condcli.errors import CannotFinishError
from condcli.output.export.folders import made
from condcli.output.export.library import library
from condcli.output.export.tensorboard import tag

_PLACES = ("DIR", "CACHE_DIR", "CONFIG_DIR", "DATA_DIR", "ARTIFACT_DIR")
_SETTINGS: Mapping[str, Any] = {  # nothing of this machine or of other code goes into the run
    "mode": "offline",
    "project": "condcli",
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "disable_job_creation": True,
    "save_code": False,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
}


def to_wandb(points: Sequence[Point], output: Path, *, force: bool) -> Path:
    """Put an offline run into the folder, beside any that are there; the run's own folder.

    Its curves are called METRIC/NAME. Raises `CannotFinishError` where the library cannot write.
    """
    with made(output):
        try:
            with tempfile.TemporaryDirectory(prefix=".condcli-", dir=output) as work:
                with _own_places(work):
                    _log(points, Path(work))
                (run,) = Path(work, "wandb").glob("offline-run-*")
                for name in ("logs", "tmp"):
                    shutil.rmtree(run / name)
                return Path(shutil.move(run, output))
        except OSError as error:
            raise CannotFinishError(
                f"{output}: cannot be written ({error.strerror or error})",
                "free some space or name another folder",
            ) from error


def _log(points: Sequence[Point], work: Path) -> None:
    wandb = library("wandb", extra="wandb", form="Weights & Biases")
    settings = wandb.Settings(**_SETTINGS)
    last = points[-1].provenance
    config = {key: value for key, value in asdict(last).items() if value is not None}
    try:
        with wandb.init(dir=work, settings=settings, config=config) as run:
            for point in points:
                found = {
                    tag(each.metric, each.name): each.value
                    for each in values([point])
                    if each.value is not None
                }
                run.log(found, step=point.step)
        wandb.teardown()  # ends the process that writes for it
    except wandb.Error as error:
        raise CannotFinishError(
            f"wandb cannot write the run ({error})", "see its manual"
        ) from error


@contextmanager
def _own_places(work: str) -> Iterator[None]:
    """What the library would read and write elsewhere is in `work`."""
    before = {name: value for name, value in os.environ.items() if name.startswith("WANDB_")}
    for name in before:
        del os.environ[name]
    os.environ |= {f"WANDB_{place}": work for place in _PLACES} | {"WANDB_ERROR_REPORTING": "false"}
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            del os.environ[name]
        os.environ |= before
