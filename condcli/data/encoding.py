"""Whether a file is the UTF-8 that its readers take for granted."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import IO

from condcli.errors import InputError

PIECE = 1 << 20


def require_utf8(file: Path, stream: IO[bytes], *, remedy: str) -> None:
    """Raises InputError, with the place of the first byte that is none, unless it is UTF-8.

    `stream` is the open `file`, and is left at its beginning.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    start = 0
    while True:
        piece = stream.read(PIECE)
        waiting = len(decoder.getstate()[0])  # bytes of a character that is not yet whole
        try:
            decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            raise InputError(
                f"{file}: byte {start - waiting + error.start} is not UTF-8", remedy
            ) from error
        if not piece:
            break
        start += len(piece)
    stream.seek(0)
