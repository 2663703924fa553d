"""`text:FILE`: a text, cut into windows of tokens; each token is to be told from those before."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from condcli.batch import Batch
from condcli.data.encoding import require_utf8
from condcli.data.locate import existing_file
from condcli.data.probe_set import Examples, IntArray
from condcli.data.request import Request
from condcli.data.tokenization import BYTES, find_tokenizer
from condcli.errors import InputError
from condcli.files import identity, replaced, unchanged

PIECE = 1 << 20  # characters that are tokenised at a time, and then to the end of the line


def open_text(path: str, request: Request) -> Examples:
    """Windows of `length` tokens (length,) that do not overlap, and for each the token after.

    Without a tokenizer the tokens are the bytes of the file, read when they are needed.
    """
    file, length = existing_file(path), request.length
    count, windows_at = (
        _bytes(file)
        if request.tokenizer in (None, BYTES)
        else _tokens(file, str(request.tokenizer))
    )
    total = (count - 1) // length
    if total == 0:
        raise InputError(
            f"{file}: {count} tokens are too few for {length} and the one after",
            f"give more text, or --length {max(1, count - 1)} or less",
        )

    def fetch(indices: IntArray) -> Batch:
        import torch

        windows = torch.from_numpy(windows_at(indices * length, length + 1).astype(np.int64))
        return windows[:, :-1], windows[:, 1:]

    return Examples(total=total, fetch=fetch)


# How many tokens there are, and a function from the places where windows begin, and their length,
# to the windows (places, length).
_Text = tuple[int, Callable[[IntArray, int], npt.NDArray[Any]]]


def _bytes(file: Path) -> _Text:
    """The bytes of a file, read window by window from one that must stay as it is."""
    with unchanged(file) as stream:
        first = identity(stream)
    if first.size == 0:
        raise InputError(f"{file}: empty", "give a file with text")

    def windows_at(starts: IntArray, length: int) -> npt.NDArray[np.uint8]:
        windows = np.empty((len(starts), length), dtype=np.uint8)
        with unchanged(file, like=first) as stream:
            for window, start in zip(windows, starts, strict=True):
                stream.seek(start)
                if stream.readinto(window.data) != length:  # type: ignore[attr-defined]
                    raise replaced(file)
        return windows

    return first.size, windows_at


def _tokens(file: Path, tokenizer: str) -> _Text:
    """The tokens of a text, which are kept in memory."""
    encode = find_tokenizer(tokenizer)
    with unchanged(file) as stream, closing(_pieces(file, stream)) as texts:
        pieces = [np.array(encode(text), dtype=np.int32) for text in texts]
    if not pieces:
        raise InputError(f"{file}: empty", "give a file with text")
    tokens = np.concatenate(pieces)
    return len(tokens), lambda starts, length: tokens[starts[:, None] + np.arange(length)]


def _pieces(file: Path, stream: BinaryIO) -> Generator[str, None, None]:
    """The text, in pieces of whole lines that a tokenizer can take in at a time."""
    remedy = "convert it to UTF-8, or drop --tokenizer to take its bytes"
    require_utf8(file, stream, remedy=remedy)
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    try:
        while lines := text.readlines(PIECE):
            yield "".join(lines)
    finally:
        text.detach()  # or it would close the stream, which is not its own
