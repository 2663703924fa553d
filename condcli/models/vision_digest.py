"""torchvision's networks told by a digest of their tensors' names and shapes.

torchvision takes seconds to import, so what its builders would make is kept in a file:
`vision_digests.json`, one entry a network, which tests/models/test_vision_digest.py compares with
the installed torchvision and writes anew with --update-golden. A network that is not in it is
still found, by building it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

Shapes = Mapping[str, tuple[int, ...]]

FILE = Path(__file__).with_name("vision_digests.json")
POSITIONS = "encoder.pos_embedding"
USUAL_IMAGE = 224


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A network, and the axes that the number of classes and the size of the image change."""

    name: str
    args: Mapping[str, object]  # those that change more than these axes
    varying: tuple[tuple[str, int], ...]  # names and axes
    digest: str


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
