"""Which known architecture a state_dict is of, by the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from condcli.errors import InputError
from condcli.models.architecture import Architecture, find_architecture
from condcli.models.shapes import Shapes, shapes_built, shapes_of
from condcli.models.vision import PREFIX, likely_names
from condcli.models.zoo import SIZES, ZOO

NEAREST = 3
LEAST_SHARE = 0.1  # below, what is shared is chance
SHALLOW = 8  # the least depth that every network of the zoo can have


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A candidate, and how much of it is in the state_dict."""

    architecture: Architecture
    share: float  # of the (name, shape) pairs in either, those in both; 1 is a fit

    @property
    def fits(self) -> bool:
        """Whether names and shapes are the same, all of them."""
        return self.share == 1.0


def match(state_dict: Mapping[str, Tensor]) -> tuple[Match, ...]:
    """The architectures that fit, else the nearest (none when too little is shared).

    Several that fit have the same tensors but differ in what they do with them. torchvision is
    asked, which takes a second or two, only when nothing in the zoo fits.
    """
    shapes = shapes_of(state_dict)
    matches: list[Match] = []
    for candidates in (_zoo_candidates, _vision_candidates):
        matches += [_compared(each, shapes) for each in candidates(shapes)]
        fitting = tuple(each for each in matches if each.fits)
        if fitting:
            return fitting
    nearest = sorted(matches, key=lambda each: -each.share)[:NEAREST]
    return tuple(each for each in nearest if each.share >= LEAST_SHARE)


def _zoo_candidates(shapes: Shapes) -> Iterator[Architecture]:
    """The zoo's networks whose shallow version is the most in `shapes`: deep ones build slowly."""
    shares = {name: _shallow_share(name, shapes) for name in ZOO if SIZES[name](shapes)}
    for name, share in shares.items():
        if share == max(shares.values()):
            yield find_architecture(name, {}, shapes)


def _shallow_share(name: str, shapes: Shapes) -> float:
    shallow = _shapes(find_architecture(name, {"depth": SHALLOW}, shapes)).items()
    return len(shallow & shapes.items()) / max(len(shallow), 1)


def _vision_candidates(shapes: Shapes) -> Iterator[Architecture]:
    for name in likely_names(shapes):
        yield find_architecture(PREFIX + name, {}, shapes)


def _compared(architecture: Architecture, shapes: Shapes) -> Match:
    ours, theirs = shapes.items(), _shapes(architecture).items()
    return Match(architecture=architecture, share=len(ours & theirs) / len(ours | theirs))


def _shapes(architecture: Architecture) -> Shapes:
    try:
        return shapes_built(architecture.build)
    except InputError:  # sizes read off another network's tensors need not make one of these
        return {}
