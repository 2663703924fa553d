"""Which known architecture a state_dict is of, by the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from condcli.errors import InputError
from condcli.models.architecture import Architecture, find_architecture
from condcli.models.shapes import Shapes, shapes_built
from condcli.models.vision import PREFIX, vision_network
from condcli.models.vision_digest import nearest_names, vision_matches
from condcli.models.zoo import SIZES, ZOO

NEAREST = 3
LEAST_SHARE = 0.1  # below, what is shared is chance
SHALLOW = 8  # the least depth that every network of the zoo can have


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A candidate, and how much of it is in the state_dict."""

    architecture: Architecture
    share: float  # of the (name, shape) pairs in either, those in both; 1 is a fit
    tensors: int  # names in either
    differences: tuple[str, ...] = ()  # conv1.weight 64×3×3×3 instead of 64×3×7×7

    @property
    def fits(self) -> bool:
        """Whether names and shapes are the same, all of them."""
        return self.share == 1.0


def fitting(shapes: Shapes) -> tuple[Match, ...]:
    """The architectures with exactly such tensors; several differ in what they do with them.

    torchvision, which takes seconds to import, is not needed for its networks.
    """
    return (*_fitting_vision(shapes), *_fitting_zoo(shapes))


def nearest(shapes: Shapes) -> tuple[Match, ...]:
    """The few that share the most names and shapes, the best first."""
    candidates = (*_zoo_candidates(shapes), *_vision_candidates(shapes))
    best = sorted((_compared(each, shapes) for each in candidates), key=lambda each: -each.share)
    least = max([LEAST_SHARE, *(each.share / 2 for each in best[:1])])
    return tuple(each for each in best[:NEAREST] if each.share >= least)


def _fitting_vision(shapes: Shapes) -> Iterator[Match]:
    for name, args in vision_matches(shapes):
        factory = partial(vision_network, name)
        architecture = Architecture(name=PREFIX + name, args=args, factory=factory)
        yield Match(architecture=architecture, share=1.0, tensors=len(shapes))


def _fitting_zoo(shapes: Shapes) -> Iterator[Match]:
    for each in _zoo_candidates(shapes):
        compared = _compared(each, shapes)
        if compared.fits:
            yield compared


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
    for name in nearest_names(shapes):
        yield find_architecture(PREFIX + name, {}, shapes)


def _compared(architecture: Architecture, shapes: Shapes) -> Match:
    theirs = _shapes(architecture)
    names = shapes.keys() | theirs.keys()
    shared = len(shapes.items() & theirs.items())
    return Match(
        architecture=architecture,
        share=shared / len(shapes.items() | theirs.items()),
        tensors=len(names),
        differences=tuple(_differences(shapes, theirs)),
    )


def _differences(ours: Shapes, theirs: Shapes) -> Iterator[str]:
    """Other shapes first: they tell more than names that are there or not."""
    for name in ours:
        if name in theirs and ours[name] != theirs[name]:
            yield f"{name} {times(ours[name])} instead of {times(theirs[name])}"
    yield from (f"{name} is missing" for name in theirs if name not in ours)
    yield from (f"{name} is not in it" for name in ours if name not in theirs)


def times(shape: tuple[int, ...]) -> str:
    """64×3×7×7; `a number` for a tensor without axes."""
    return "×".join(map(str, shape)) or "a number"


def _shapes(architecture: Architecture) -> Shapes:
    try:
        return shapes_built(architecture.build)
    except InputError:  # sizes read off another network's tensors need not make one of these
        return {}
