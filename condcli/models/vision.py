"""torchvision's classification networks: by name, and how to read their sizes off a state_dict."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import cache, partial

from torch import nn

from condcli.models.shapes import Shapes, shapes_built

PREFIX = "torchvision:"
CLASSES = 1000  # torchvision's default
# These two draw their weights slowly, and warn, unless told not to.
SLOW_INIT = ("googlenet", "inception_v3")


def vision_names() -> list[str]:
    """The names that `torchvision:NAME` takes."""
    from torchvision import models

    names: list[str] = models.list_models(module=models)
    return names


def vision_network(name: str, **args: object) -> nn.Module:
    """torchvision's network `name` with random weights; `args` are those of its own builder."""
    from torchvision import models

    untouched = {"init_weights": False} if name in SLOW_INIT else {}
    network: nn.Module = models.get_model(name, **untouched | args)
    return network


def vision_sizes(name: str, shapes: Shapes) -> dict[str, object]:
    """The arguments of `vision_network` that the names and shapes of a state_dict tell."""
    usual = _usual_shapes(name)
    classes, _ = _head(name, shapes)
    sizes: dict[str, object] = {"num_classes": classes}
    if name in SLOW_INIT and not any("aux" in key.lower() for key in shapes):
        sizes["aux_logits"] = False
    return sizes | _image_size(shapes, usual)


def likely_names(shapes: Shapes, *, families: int = 2, each: int = 4) -> list[str]:
    """The networks worth comparing: those nearest in parameters, of the likeliest families.

    Building all of torchvision takes seconds even without weights, so the smallest network of each
    family (module of torchvision) speaks for it by its tensors' names.
    """
    shares = {names[0]: _shared_names(names[0], shapes) for names in _families()}
    by_names = sorted(_families(), key=lambda names: -shares[names[0]])[:families]
    least = max(shares[by_names[0][0]] / 2, 0.01)  # one name in a hundred is chance
    return [
        name
        for names in by_names
        for name in sorted(names, key=partial(_distance, _parameters(shapes, names[0])))[:each]
        if shares[names[0]] >= least
    ]


def _head(name: str, shapes: Shapes) -> tuple[int, int]:
    """Classes and d_in of the last layer; torchvision names it alike in all of a family."""
    usual = _usual_shapes(name)
    heads = [key for key, shape in usual.items() if shape[:1] == (CLASSES,) and len(shape) > 1]
    classes, *d_in = shapes.get(heads[-1]) or usual[heads[-1]]
    return classes, math.prod(d_in)


def _image_size(shapes: Shapes, usual: Shapes) -> dict[str, object]:
    """A vision transformer's position embedding, one vector a patch and one more, tells it."""
    name = "encoder.pos_embedding"
    embedding = shapes.get(name, ())
    if name not in usual or len(embedding) != 3 or embedding == usual[name]:
        return {}
    patch = usual["conv_proj.weight"][-1]
    return {"image_size": patch * math.isqrt(max(embedding[1] - 1, 0))}


@cache
def _families() -> list[list[str]]:
    """The networks of each family, smallest first."""
    from torchvision import models

    families: dict[str, list[str]] = defaultdict(list)
    for name in sorted(vision_names(), key=_usual_parameters):
        families[models.get_model_builder(name).__module__].append(name)
    return list(families.values())


def _shared_names(name: str, shapes: Shapes) -> float:
    names = _usual_shapes(name).keys()
    return len(names & shapes.keys()) / len(names)


def _parameters(shapes: Shapes, name: str) -> int:
    """How many numbers there would be for 1000 classes, if this is of the family of `name`."""
    classes, d_in = _head(name, shapes)
    missing = (CLASSES - classes) * (d_in + 1)
    return sum(math.prod(shape) for shape in shapes.values()) + missing


def _distance(parameters: int, name: str) -> int:
    return abs(_usual_parameters(name) - parameters)


def _usual_parameters(name: str) -> int:
    from torchvision import models

    number: int = next(iter(models.get_model_weights(name))).meta["num_params"]
    return number


@cache
def _usual_shapes(name: str) -> Shapes:
    return shapes_built(partial(vision_network, name))
