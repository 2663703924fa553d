"""`--transform`: images as a network's own preprocessing makes them, one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import numpy as np

from condcli.batch import Batch, mapped, shape_text
from condcli.data.collation import from_items
from condcli.data.probe_set import Examples
from condcli.data.tensors import to_tensors
from condcli.errors import UsageError
from condcli.user_code import errors_reported, load_function


def transformed(examples: Examples, spec: str, *, source: str, seed: int) -> Examples:
    """The same examples, every image passed through the transform that `spec` names.

    `torchvision:WEIGHTS`, such as `torchvision:ResNet18_Weights.DEFAULT`, is the preprocessing
    that belongs to those weights (nothing is downloaded) and gets RGB images. `FILE.py:function`
    and `package.module:function` get what there is: a Pillow image for files and for uint8 of 1
    or 3 channels, else a float tensor (channels, height, width). Raises UsageError for inputs that
    are no images, and for transforms that do not exist.
    """
    function = _weights_transform(spec) if _is_torchvisions(spec) else load_function(spec)
    unprepared = examples.unprepared or (lambda index: _single(examples, index))

    def item(index: int) -> tuple[Any, Any]:
        image, target = unprepared(index)
        picture = _as_picture(image, spec, source)
        with errors_reported(spec):
            return function(picture), target

    _as_picture(unprepared(0)[0], spec, source)
    made = from_items(item, examples.total, source=source, seed=seed)
    return replace(
        examples,
        fetch=made.fetch,
        settled=made.settled,
        usual=None,
        standard=None,
        transform=f"transform {spec}",
    )


def _is_torchvisions(spec: str) -> bool:
    return spec.startswith("torchvision:")


def _weights_transform(spec: str) -> Callable[[Any], Any]:
    from torchvision import models

    name = spec.partition(":")[2]
    try:
        transform: Callable[[Any], Any] = models.get_weight(name).transforms()
    except Exception as error:  # of three kinds, by what part of the name is wrong
        known = [f"{entry}.DEFAULT" for entry in dir(models) if entry.endswith("_Weights")]
        near = get_close_matches(name, known, n=1)
        raise UsageError(
            f"torchvision has no weights '{name}'",
            f"did you mean torchvision:{near[0] if near else 'ResNet18_Weights.DEFAULT'}?",
        ) from error
    return transform


def _single(examples: Examples, index: int) -> Batch:
    inputs, targets = examples.fetch(np.array([index]))
    return mapped(lambda part: part[0], inputs), mapped(lambda part: part[0], targets)


def _as_picture(image: Any, spec: str, source: str) -> Any:
    """A Pillow image, or a float tensor (channels, height, width)."""
    import torch
    from PIL import Image
    from torchvision.transforms.functional import to_pil_image

    if not isinstance(image, Image.Image):
        tensor = to_tensors(image, what=f"{source}: x")
        if isinstance(tensor, torch.Tensor) and tensor.ndim == 2:
            tensor = tensor[None]  # grey images are often stored without their one channel
        if not isinstance(tensor, torch.Tensor) or tensor.ndim != 3:
            shapes = shape_text(mapped(lambda part: part[None], tensor))
            raise UsageError(
                f"--transform is for images, and an input of {source} is {shapes}",
                "drop --transform",
            )
        if tensor.dtype != torch.uint8 or len(tensor) not in (1, 3):
            return tensor
        image = to_pil_image(tensor)
    return image.convert("RGB") if _is_torchvisions(spec) else image
