"""Cuts and flips: every format damaged byte by byte.

A damaged file gives an error of the documented kind, or the same numbers, or, in a format without a
checksum, the numbers that another decoder reads there. `python -m tests.reliability.sweep_flips`
tries 100 cuts and 500 flips of each; test_flips.py a few.
"""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from condcli.errors import CondcliError
from tests.reliability.formats import FORMATS, Format, Numbers

SECONDS = 10.0  # for one damaged file: more is a hang
CUTS, FLIPS = 100, 500


class BrokenPromise(AssertionError):
    """A damaged file was read as something that it does not hold, or ended in another error."""


def survived(name: str, *, cuts: int = CUTS, flips: int = FLIPS, seed: int = 0) -> Counter[str]:
    """How so many cuts and flips of a format ended; BrokenPromise for one that may not happen."""
    form, ends = FORMATS[name], Counter[str]()
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the other decoders
        folder = Path(place)
        form.make(folder)
        file, whole = folder / form.file, form.read(folder)
        for what, content in damages(file.read_bytes(), cuts, flips, seed):
            file.write_bytes(content)
            start = time.monotonic()
            end = _end(form, folder, whole, f"{name}, {what}")
            if time.monotonic() - start > SECONDS:
                raise BrokenPromise(f"{name}, {what}: it hung")
            ends[end] += 1
    return ends


def damages(content: bytes, cuts: int, flips: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """The content cut at points spread evenly, then with single bytes changed at random."""
    for place in np.linspace(0, len(content) - 1, cuts).astype(int).tolist():
        yield f"cut at {place}", content[:place]
    random = np.random.default_rng(seed)
    for _ in range(flips):
        place, change = int(random.integers(len(content))), int(random.integers(1, 256))
        changed = bytearray(content)
        changed[place] ^= change
        yield f"byte {place} ^ {change}", bytes(changed)


def _end(form: Format, folder: Path, whole: Numbers, what: str) -> str:
    try:
        found = form.read(folder)
    except CondcliError as error:
        if os.fspath(folder) not in str(error) and Path(form.file).name not in str(error):
            raise BrokenPromise(f"{what}: {error} names no file") from error
        return "refused"
    except BaseException as error:
        raise BrokenPromise(f"{what}: {type(error).__name__}: {error}") from error
    if same(found, whole):
        return "the same"
    if form.named and found.keys() != whole.keys():
        return "refused"
    if form.plain is None:
        raise BrokenPromise(f"{what}: read as other numbers")
    try:
        plain = form.plain(folder)
    except Exception as error:
        raise BrokenPromise(f"{what}: read, where another decoder fails ({error})") from error
    if not equal(found, plain):
        raise BrokenPromise(f"{what}: read as other numbers")
    return "as it stands"


def same(one: Numbers, other: Numbers) -> bool:
    """Whether both hold the same arrays."""
    return equal(one, other) and all(one[name].dtype == other[name].dtype for name in one)


def equal(one: Numbers, other: Numbers) -> bool:
    """Whether both hold the same numbers, in whatever types."""
    return one.keys() == other.keys() and all(
        map(np.array_equal, one.values(), map(other.get, one))
    )


def main() -> None:
    """All of it, and a line of what was tried."""
    ends = Counter[str]()
    for name in FORMATS:
        ends += survived(name)
    print(
        f"cuts and flips: {CUTS} and {FLIPS} of each of {len(FORMATS)} formats: "
        f"{ends['refused']} refused, {ends['the same']} read as before the damage (it hit nothing "
        f"that is read), {ends['as it stands']}, in formats without a checksum, as another decoder "
        "reads them; none otherwise"
    )


if __name__ == "__main__":
    main()
