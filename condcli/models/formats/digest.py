"""sha256 of the files that a checkpoint is read from, computed while others work."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from threading import Thread
from typing import BinaryIO

from condcli.files import Sources, identity, replaced

CHUNK = 1 << 20  # bytes


def sha256_of(files: Sequence[Path], sources: Sources) -> Future[str]:
    """The sha256 of one file; of several that of `sha256sum FILES`, their digests and names.

    It is computed by a thread of its own, which nothing waits for but who asks for the result:
    hashing is the slowest part of reading a checkpoint. The thread reads on where the checkpoint
    was read, also when another file has taken its place. The future raises InputError where it was
    written to.
    """
    future: Future[str] = Future()
    # Descriptors of its own, as the sources are closed before it ends; but where one of them reads,
    # all do: nothing is read from the sources any more.
    copies = [(path, os.fdopen(os.dup(sources.open(path).fileno()), "rb")) for path in files]

    def compute() -> None:
        with ExitStack() as stack:
            for _, copy in copies:
                stack.enter_context(copy)
            try:
                future.set_result(_digest(copies))
            except Exception as error:  # for who asks for the result
                future.set_exception(error)

    Thread(target=compute, daemon=True).start()
    return future


def _digest(files: Sequence[tuple[Path, BinaryIO]]) -> str:
    digests = [(_file_digest(path, file), path.name) for path, file in files]
    if len(digests) == 1:
        return digests[0][0]
    lines = [f"{digest}  {name}\n" for digest, name in digests]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _file_digest(path: Path, file: BinaryIO) -> str:
    digest, before = hashlib.sha256(), identity(file)
    file.seek(0)
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    if identity(file) != before:
        raise replaced(path)
    return digest.hexdigest()
