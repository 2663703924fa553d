"""torchvision's networks told by a digest of their tensors' names and shapes.

torchvision takes seconds to import, so what its builders would make is kept in a file:
`vision_digests.json`, one entry a network, which tests/models/test_vision_digest.py compares with
the installed torchvision and writes anew with --update-golden.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

Shapes = Mapping[str, tuple[int, ...]]

FILE = Path(__file__).with_name("vision_digests.json")
POSITIONS = "encoder.pos_embedding"
USUAL_IMAGE = 224
LEAST_SHARE = 0.1  # of the names; below, what is shared is chance


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """A network, and the axes that the number of classes and the size of the image change."""

    name: str
    args: Mapping[str, object]  # those that change more than these axes
    varying: tuple[tuple[str, int], ...]  # names and axes
    digest: str
    patterns: frozenset[str]  # digests of the tensors' names without their numbers
    parameters: int


def vision_matches(shapes: Shapes) -> list[tuple[str, dict[str, object]]]:
    """Each network with exactly such tensors, and the arguments of its builder."""
    digests: dict[tuple[tuple[str, int], ...], str | None] = {}
    found = []
    for entry in _entries():
        if entry.varying not in digests:
            digests[entry.varying] = _digest_if_alike(shapes, entry.varying)
        if digests[entry.varying] == entry.digest:
            found.append((entry.name, _sizes(entry, shapes) | dict(entry.args)))
    return found


def nearest_names(shapes: Shapes, *, most: int = 6) -> list[str]:
    """The networks worth comparing, which takes building them: by names, then by size."""
    ours, size = patterns(shapes), sum(map(math.prod, shapes.values()))
    shares = {
        entry: len(ours & entry.patterns) / len(ours | entry.patterns) for entry in _entries()
    }
    least = max(LEAST_SHARE, max(shares.values()) / 2)
    near = [entry for entry, share in shares.items() if share >= least]

    def distance(entry: Entry) -> tuple[float, float]:
        return -round(shares[entry], 1), abs(math.log(max(size, 1) / entry.parameters))

    return list(dict.fromkeys(entry.name for entry in sorted(near, key=distance)))[:most]


def patterns(names: Iterable[str]) -> frozenset[str]:
    """Short digests of the names with every number as one sign."""
    distinct = {re.sub(r"\d+", "#", name) for name in names}
    return frozenset(
        sha256(each.encode(errors="surrogatepass")).hexdigest()[:4] for each in distinct
    )


def digest(shapes: Shapes, varying: tuple[tuple[str, int], ...]) -> str:
    """A digest of all names and shapes in which the varying axes do not count."""
    axes = dict(varying)
    lines = sorted(
        f"{name} {[size for axis, size in enumerate(shape) if axis != axes.get(name)]}"
        for name, shape in shapes.items()
    )
    return sha256("\n".join(lines).encode(errors="surrogatepass")).hexdigest()[:16]


@cache
def _entries() -> tuple[Entry, ...]:
    return tuple(
        Entry(
            name=each["name"],
            args=each["args"],
            varying=tuple((name, axis) for name, axis in each["varying"]),
            digest=each["digest"],
            patterns=frozenset(each["patterns"].split()),
            parameters=each["parameters"],
        )
        for each in json.loads(FILE.read_text(encoding="utf-8"))
    )


def _digest_if_alike(shapes: Shapes, varying: tuple[tuple[str, int], ...]) -> str | None:
    """The digest if all classifiers have the same number of classes."""
    sizes = {
        shapes[name][axis] if axis < len(shapes.get(name, ())) else 0
        for name, axis in varying
        if name != POSITIONS
    }
    return digest(shapes, varying) if len(sizes) == 1 and 0 not in sizes else None


def _sizes(entry: Entry, shapes: Shapes) -> dict[str, object]:
    head = next((name, axis) for name, axis in entry.varying if name != POSITIONS)
    sizes: dict[str, object] = {"num_classes": shapes[head[0]][head[1]]}
    image = _image_size(shapes) if (POSITIONS, 1) in entry.varying else USUAL_IMAGE
    return sizes if image == USUAL_IMAGE else sizes | {"image_size": image}


def _image_size(shapes: Shapes) -> int:
    """A vision transformer's position embedding has a vector for each patch and one more."""
    return shapes["conv_proj.weight"][-1] * math.isqrt(max(shapes[POSITIONS][1] - 1, 0))
