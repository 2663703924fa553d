"""Every way to name data, and what opens it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from condcli.data.array_files import open_npz, open_pt
from condcli.data.cifar import open_cifar10, open_cifar100
from condcli.data.digits import open_digits
from condcli.data.idx_files import open_fashion_mnist, open_mnist
from condcli.data.image_folders import open_image_folder, open_imagenet
from condcli.data.objects import as_probe_set
from condcli.data.probe_set import Examples, ProbeSet, draw
from condcli.data.random_inputs import open_random
from condcli.data.svhn import open_svhn
from condcli.errors import InputError, UsageError
from condcli.user_code import errors_reported, load_function


@dataclass(frozen=True)
class KnownSet:
    """A data set with a name, and splits of which the first is the default."""

    description: str
    splits: tuple[str, ...]
    open: Callable[[str, Path, bool], Examples]  # split, root, download


# The default split is the training one: the paper analyses the curvature that training sees.
KNOWN: Mapping[str, KnownSet] = {
    "digits": KnownSet("1,797 8x8 digits (in condcli)", ("train", "test", "all"), open_digits),
    "mnist": KnownSet("28x28 handwritten digits", ("train", "test"), open_mnist),
    "fashion-mnist": KnownSet("28x28 pictures of clothes", ("train", "test"), open_fashion_mnist),
    "cifar10": KnownSet("32x32 photos, 10 classes", ("train", "test"), open_cifar10),
    "cifar100": KnownSet("32x32 photos, 100 classes", ("train", "test"), open_cifar100),
    "svhn": KnownSet("32x32 house numbers", ("train", "test", "extra"), open_svhn),
    "imagenet": KnownSet("224x224 photos, 1,000 classes", ("train", "val"), open_imagenet),
}
FORMS: Mapping[str, str] = {
    "imagefolder:DIR": "images, a folder for each class",
    "random:3x32x32": "standard normal inputs, uniform labels",
    "FILE.npz, FILE.pt": "arrays x and y (no pickles)",
    "FILE.py:function": "what your function returns: (x, y), a Dataset or batches",
}
ALL = "all"  # the only split of data that have none


def known() -> dict[str, str]:
    """Every name and form of data, with its description in a few words."""
    return {name: entry.description for name, entry in KNOWN.items()} | dict(FORMS)


def open_data(
    spec: str,
    *,
    root: Path = Path("data"),
    split: str | None = None,
    samples: int | None = 1024,
    seed: int = 0,
    normalize: str | None = None,
    download: bool = False,
) -> ProbeSet:
    """The probe set that `spec` names, in one of the forms that `known` lists.

    `samples` examples are chosen at random, fixed by `seed`; None, or more than there are, means
    all. `normalize` is None or `default` (the known data set's usual mean and standard deviation,
    nothing for other data), `none`, or `MEAN/STD` with one number each or one per channel.
    `root` holds the known data sets, and `download` lets torchvision fetch them there.
    """
    if spec in KNOWN:
        entry = KNOWN[spec]
        split = _one_of(spec, split, entry.splits)
        examples = entry.open(split, root, download)
    else:
        split = _one_of(spec, split, (ALL,))
        if _names_function(spec):
            return _from_function(spec, samples, seed, normalize)
        examples = _open_unnamed(spec, samples, seed)
    return draw(examples, source=spec, split=split, samples=samples, seed=seed, normalize=normalize)


def _open_unnamed(spec: str, samples: int | None, seed: int) -> Examples:
    kind, _, rest = spec.partition(":")
    if kind == "random":
        return open_random(rest, samples=samples, seed=seed)
    if kind == "imagefolder" and rest:
        return open_image_folder(Path(rest))
    if spec.endswith(".npz"):
        return open_npz(Path(spec))
    if spec.endswith(".pt"):
        return open_pt(Path(spec))
    raise _unknown(spec)


def _names_function(spec: str) -> bool:
    place, _, name = spec.rpartition(":")
    is_module = re.fullmatch(r"\w+(\.\w+)*", place) and place not in ("random", "imagefolder")
    return name.isidentifier() and (place.endswith(".py") or bool(is_module))


def _from_function(spec: str, samples: int | None, seed: int, normalize: str | None) -> ProbeSet:
    function = load_function(spec)
    with errors_reported(spec):
        data = function()
    return as_probe_set(data, source=spec, samples=samples, seed=seed, normalize=normalize)


def _one_of(spec: str, split: str | None, splits: tuple[str, ...]) -> str:
    if split is None:
        return splits[0]
    if split not in splits:
        raise UsageError(
            f"{spec} has no split '{split}'", f"give --split {' or '.join(splits)}, or leave it out"
        )
    return split


def _unknown(spec: str) -> InputError:
    names = [*KNOWN, "random:3x32x32", "imagefolder:DIR"]
    near = get_close_matches(spec.lower(), names, n=1, cutoff=0.5)
    path = Path(spec)
    if spec and path.is_dir():
        return InputError(f"{spec}: a folder", f"write imagefolder:{spec} if it holds images")
    if path.is_file():
        return InputError(f"{spec}: not a kind of file that holds data", "give a .npz or .pt file")
    hint = f"did you mean {near[0]}? There are" if near else "there are"
    return InputError(f"no data called '{spec}'", f"{hint} {', '.join(known())}")
