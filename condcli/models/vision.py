"""torchvision's classification networks: by name, and how to read their sizes off a state_dict."""

from __future__ import annotations

import math
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
    sizes: dict[str, object] = {"num_classes": _classes(name, shapes)}
    if name in SLOW_INIT and not any("aux" in key.lower() for key in shapes):
        sizes["aux_logits"] = False
    return sizes | _image_size(shapes, usual)


def _classes(name: str, shapes: Shapes) -> int:
    """Of the last layer; torchvision names it alike in all of a family."""
    usual = _usual_shapes(name)
    heads = [key for key, shape in usual.items() if shape[:1] == (CLASSES,) and len(shape) > 1]
    return (shapes.get(heads[-1]) or usual[heads[-1]])[0]


def _image_size(shapes: Shapes, usual: Shapes) -> dict[str, object]:
    """A vision transformer's position embedding, one vector a patch and one more, tells it."""
    name = "encoder.pos_embedding"
    embedding = shapes.get(name, ())
    if name not in usual or len(embedding) != 3 or embedding == usual[name]:
        return {}
    patch = usual["conv_proj.weight"][-1]
    return {"image_size": patch * math.isqrt(max(embedding[1] - 1, 0))}


@cache
def _usual_shapes(name: str) -> Shapes:
    return shapes_built(partial(vision_network, name))
