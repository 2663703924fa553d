"""sha256 of the files that a checkpoint is read from, computed while others work."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import Thread

CHUNK = 1 << 20  # bytes


def sha256_of(files: Sequence[Path]) -> Future[str]:
    """The sha256 of one file; of several that of `sha256sum FILES`, their digests and names.

    It is computed by a thread of its own, which nothing waits for but who asks for the result:
    hashing is the slowest part of reading a checkpoint.
    """
    future: Future[str] = Future()

    def compute() -> None:
        try:
            future.set_result(_digest(files))
        except OSError as error:
            future.set_exception(error)

    Thread(target=compute, daemon=True).start()
    return future


def _digest(files: Sequence[Path]) -> str:
    if len(files) == 1:
        return _file_digest(files[0])
    lines = [f"{_file_digest(file)}  {file.name}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
