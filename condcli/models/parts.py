"""The parts of what was saved that may be the network, where a framework saved more than it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate

from torch import Tensor

from condcli.models.match import Match, fitting, nearest
from condcli.models.shapes import shapes_of
from condcli.models.state_dict import under

LEAST_SHARE = 0.4  # of the tensors; a student and a teacher have a half each
DEEPEST = 3  # student.backbone.net.


def parts(state_dict: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
    """The whole, then the tensors under each prefix that most of them share, without it."""
    yield state_dict
    counts = Counter(prefix for name in state_dict for prefix in _prefixes(name))
    for prefix, count in sorted(counts.items(), key=lambda item: item[0].count(".")):
        if count >= LEAST_SHARE * len(state_dict):
            yield under(state_dict, prefix)


def match_part(state_dict: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], tuple[Match, ...]]:
    """The first part that an architecture fits, with its matches; else the whole and its own."""
    for part in parts(state_dict):
        if found := fitting(shapes_of(part)):
            return part, found
    return state_dict, nearest(shapes_of(state_dict))


def _prefixes(name: str) -> Iterator[str]:
    *modules, _ = name.split(".")
    yield from accumulate(f"{module}." for module in modules[:DEEPEST])
