"""`text:FILE`: a text, cut into windows of tokens; each token is to be told from those before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from condcli.batch import Batch
from condcli.data.encoding import require_utf8
from condcli.data.locate import existing_file
from condcli.data.probe_set import Examples, IntArray
from condcli.data.request import Request
from condcli.data.tokenization import BYTES, find_tokenizer
from condcli.errors import InputError

PIECE = 1 << 20  # characters that are tokenised at a time, and then to the end of the line


def open_text(path: str, request: Request) -> Examples:
    """Windows of `length` tokens (length,) that do not overlap, and for each the token after.

    Without a tokenizer the tokens are the bytes of the file, read when they are needed.
    """
    file, length = existing_file(path), request.length
    if file.stat().st_size == 0:
        raise InputError(f"{file}: empty", "give a file with text")
    tokens = _tokens(file, request.tokenizer)
    total = (len(tokens) - 1) // length
    if total == 0:
        raise InputError(
            f"{file}: {len(tokens)} tokens are too few for {length} and the one after",
            f"give more text, or --length {max(1, len(tokens) - 1)} or less",
        )

    def fetch(indices: IntArray) -> Batch:
        import torch

        places = indices[:, None] * length + np.arange(length + 1)
        windows = torch.from_numpy(tokens[places].astype(np.int64))
        return windows[:, :-1], windows[:, 1:]

    return Examples(total=total, fetch=fetch)


def _tokens(file: Path, tokenizer: str | None) -> npt.NDArray[Any]:
    if tokenizer is None or tokenizer == BYTES:
        return np.memmap(file, dtype=np.uint8, mode="r")
    encode = find_tokenizer(tokenizer)
    pieces = [np.array(encode(piece), dtype=np.int32) for piece in _pieces(file)]
    return np.concatenate(pieces)


def _pieces(file: Path) -> Iterator[str]:
    """The text, in pieces of whole lines that a tokenizer can take in at a time."""
    require_utf8(file, remedy="convert it to UTF-8, or drop --tokenizer to take its bytes")
    with file.open(encoding="utf-8", newline="") as stream:
        while lines := stream.readlines(PIECE):
            yield "".join(lines)
