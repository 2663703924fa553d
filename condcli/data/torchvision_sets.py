"""`torchvision:EuroSAT`: any data set of torchvision that gives images with a label each."""

from __future__ import annotations

import inspect
import numbers
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from condcli.data.collation import from_items
from condcli.data.image_folders import without_programs
from condcli.data.probe_set import Examples
from condcli.data.request import Request
from condcli.errors import InputError, UsageError
from condcli.user_code import one_line

ELSEWHERE = "write a function that returns what your network takes, and give FILE.py:function"
# Sets that are not opened, and what to do instead. LSUN reads a pickle, which can run code.
REFUSED = {
    "DatasetFolder": "give imagefolder:DIR",
    "ImageFolder": "give imagefolder:DIR",
    "ImageNet": "give imagenet",
    "LSUN": ELSEWHERE,
    "LSUNClass": ELSEWHERE,
    "VisionDataset": ELSEWHERE,
    "wrap_dataset_for_transforms_v2": ELSEWHERE,
}


def open_torchvision_set(name: str, request: Request) -> Examples:
    """Images, decoded when read, and labels, of the split that torchvision's own class has.

    Its `split=`, `image_set=` or `train=` gets --split. Raises UsageError for an unknown set or
    split, InputError when the files are not there or hold no labelled images.
    """
    source, kind = f"torchvision:{name}", _class_of(name)
    options, split = _options(source, kind, request)
    try:
        with redirect_stdout(sys.stderr):
            dataset = kind(**options)
        with without_programs():
            total, first = len(dataset), dataset[0]
    except ValueError as error:  # torchvision's word for a split that does not exist
        raise UsageError(f"{source}: {one_line(error)}", "give another --split") from error
    except Exception as error:  # RuntimeError, OSError, ModuleNotFoundError …
        raise _absent(source, request, error) from error
    _require_labelled_image(source, first)

    def item(index: int) -> Any:
        try:
            with without_programs():
                return dataset[index]
        except Exception as error:
            raise InputError(
                f"{source}: example {index} cannot be read ({one_line(error)})", "get it again"
            ) from error

    names = getattr(dataset, "classes", None)
    class_names = tuple(map(str, names)) if isinstance(names, list | tuple) and names else None
    return replace(
        from_items(item, total, source=source, seed=request.seed),
        split=split,
        classes=len(class_names) if class_names else None,
        class_names=class_names,
    )


def _absent(source: str, request: Request, error: Exception) -> InputError:
    if request.download:
        return InputError(
            f"{source} could not be downloaded to {request.root} ({one_line(error)})",
            "check the network and the folder, or get the files yourself and give --root",
        )
    return InputError(
        f"{source} is not whole in {request.root} ({one_line(error)})",
        "get it with --download, or say with --root where it is",
    )


def _class_of(name: str) -> Any:
    from torchvision import datasets

    if name in REFUSED:
        raise UsageError(f"torchvision:{name} is not opened here", REFUSED[name])
    if name not in datasets.__all__:
        names = {known.lower(): known for known in datasets.__all__}
        near = get_close_matches(name.lower(), names, n=1, cutoff=0.4)
        raise UsageError(
            f"torchvision has no data set '{name}'",
            f"did you mean torchvision:{names[near[0]]}?" if near else "check its manual",
        )
    return getattr(datasets, name)


def _options(source: str, kind: Any, request: Request) -> tuple[dict[str, Any], str]:
    """The arguments for torchvision's class, and the name of the split that they mean."""
    parameters = inspect.signature(kind).parameters
    options, split = _split(source, parameters, request.split)
    if "root" in parameters:
        options["root"] = request.root
    if "download" in parameters:  # given even if False: for some sets the default is True
        options["download"] = request.download
    elif request.download:
        if not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
            raise UsageError(f"{source} cannot be downloaded", "get it yourself and give --root")
        options["download"] = True
    needed = [
        each.name
        for each in parameters.values()
        if each.default is each.empty
        and each.kind is each.POSITIONAL_OR_KEYWORD
        and each.name not in options
    ]
    if needed:
        raise UsageError(f"{source} needs to be told its {' and '.join(needed)}", ELSEWHERE)
    return options, split


def _split(
    source: str, parameters: Mapping[str, inspect.Parameter], asked: str | None
) -> tuple[dict[str, Any], str]:
    for name in ("split", "image_set"):
        if name in parameters:
            usual = parameters[name].default
            split = asked or (usual if isinstance(usual, str) else "train")
            return {name: split}, split
    splits = ("train", "test") if "train" in parameters else ("all",)
    split = asked or splits[0]
    if split not in splits:
        raise UsageError(
            f"{source} has no split '{split}'",
            f"give --split {' or '.join(splits)}, or leave it out",
        )
    return ({"train": split == "train"} if "train" in parameters else {}), split


def _require_labelled_image(source: str, item: Any) -> None:
    import torch
    from PIL import Image

    parts = item if isinstance(item, tuple) else (item,)
    fits = (
        len(parts) == 2
        and isinstance(parts[0], Image.Image | torch.Tensor)
        and isinstance(parts[1], numbers.Number | torch.Tensor)
    )
    if not fits:
        kinds = ", ".join(type(part).__name__ for part in parts)
        raise InputError(f"{source} gives ({kinds}), not an image and its label", ELSEWHERE)
