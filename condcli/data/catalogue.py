"""Every way to name data, and what opens it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from condcli.data.array_files import open_npz, open_pt, open_safetensors
from condcli.data.cifar import open_cifar10, open_cifar100
from condcli.data.digits import open_digits
from condcli.data.hdf5_files import open_hdf5
from condcli.data.hf_datasets import is_hf_dataset, open_hf_dataset
from condcli.data.idx_files import open_fashion_mnist, open_mnist
from condcli.data.image_folders import open_image_folder, open_imagenet
from condcli.data.objects import as_probe_set
from condcli.data.probe_set import Examples, ProbeSet, draw
from condcli.data.random_inputs import open_random
from condcli.data.request import Request
from condcli.data.split_names import ALL
from condcli.data.svhn import open_svhn
from condcli.data.tables import open_table
from condcli.data.text_files import open_text
from condcli.data.torchvision_sets import open_torchvision_set
from condcli.data.transforms import transformed
from condcli.errors import InputError, UsageError
from condcli.names import DATA_PREFIXES, DATA_SETS
from condcli.user_code import errors_reported, load_function


@dataclass(frozen=True)
class KnownSet:
    """A data set with a name, and splits of which the first is the default."""

    description: str
    splits: tuple[str, ...]
    open: Callable[[str, Path, bool], Examples]  # split, root, download


@dataclass(frozen=True)
class Form:
    """A way to write data that have no name here."""

    title: str
    description: str
    open: Callable[[str, Request], Examples]  # what follows the prefix, or the path
    uses: frozenset[str] = frozenset()  # of the options that only some data have a use for


# The default split is the training one: the paper analyses the curvature that training sees.
KNOWN: Mapping[str, KnownSet] = {
    "digits": KnownSet(DATA_SETS["digits"], ("train", "test", "all"), open_digits),
    "mnist": KnownSet(DATA_SETS["mnist"], ("train", "test"), open_mnist),
    "fashion-mnist": KnownSet(DATA_SETS["fashion-mnist"], ("train", "test"), open_fashion_mnist),
    "cifar10": KnownSet(DATA_SETS["cifar10"], ("train", "test"), open_cifar10),
    "cifar100": KnownSet(DATA_SETS["cifar100"], ("train", "test"), open_cifar100),
    "svhn": KnownSet(DATA_SETS["svhn"], ("train", "test", "extra"), open_svhn),
    "imagenet": KnownSet(DATA_SETS["imagenet"], ("train", "val"), open_imagenet),
}
SETS = frozenset({"root", "split", "download", "transform"})
IMAGES = frozenset({"transform"})
ARRAYS = IMAGES | {"split"}
TEXTS = frozenset({"tokenizer", "length"})
COLUMNS = IMAGES | TEXTS | {"target"}

PREFIXES: Mapping[str, Form] = {
    "imagefolder": Form(*DATA_PREFIXES["imagefolder"], open_image_folder, IMAGES),
    "torchvision": Form(*DATA_PREFIXES["torchvision"], open_torchvision_set, SETS),
    "hfdataset": Form(*DATA_PREFIXES["hfdataset"], open_hf_dataset, COLUMNS | {"split"}),
    "text": Form(*DATA_PREFIXES["text"], open_text, TEXTS),
    "random": Form(*DATA_PREFIXES["random"], open_random),
}
SUFFIXES: Mapping[str, Form] = {
    ".npz": Form("FILE.npz", "arrays x and y, by numpy.savez", open_npz, ARRAYS),
    ".pt": Form("FILE.pt", "tensors x and y, by torch.save", open_pt, ARRAYS),
    ".safetensors": Form("FILE.safetensors", "tensors x and y", open_safetensors, ARRAYS),
    ".h5": Form("FILE.h5", "HDF5 data sets x and y, read as needed", open_hdf5, ARRAYS),
    ".hdf5": Form("FILE.hdf5", "the same", open_hdf5, ARRAYS),
    ".csv": Form("FILE.csv", "a table; --target names what is predicted", open_table, COLUMNS),
    ".tsv": Form("FILE.tsv", "the same, by tabs", open_table, COLUMNS),
    ".parquet": Form("FILE.parquet", "a table, text, tokens or images", open_table, COLUMNS),
    ".jsonl": Form("FILE.jsonl", "the same, an object a line", open_table, COLUMNS),
    ".json": Form("FILE.json", "the same, also as a list", open_table, COLUMNS),
}
FUNCTION = "FILE.py:function"


def known() -> dict[str, str]:
    """Every name and form of data, with its description in a few words."""
    names = {name: entry.description for name, entry in KNOWN.items()}
    forms = {form.title: form.description for form in (*PREFIXES.values(), *SUFFIXES.values())}
    return names | forms | {FUNCTION: "what your function returns: (x, y), a Dataset or batches"}


def open_data(
    spec: str,
    *,
    root: Path = Path("data"),
    split: str | None = None,
    samples: int | None = 1024,
    seed: int = 0,
    normalize: str | None = None,
    download: bool = False,
    target: str | None = None,
    tokenizer: str | None = None,
    length: int = 128,
    transform: str | None = None,
) -> ProbeSet:
    """The probe set that `spec` names, in one of the forms that `known` lists.

    `samples` examples are chosen at random, fixed by `seed`; None, or more than there are, means
    all. `normalize` is None or `default` (the known data set's usual mean and standard deviation,
    nothing for other data), `none`, `standardize` (by those of the whole split), or `MEAN/STD`
    with one number each or one per channel. `root` holds the known data sets, and `download` lets
    torchvision fetch them there. `target` names the column or columns (with commas) of a table
    that are to be predicted; `tokenizer` is a tokenizer's folder or tokenizer.json, or `bytes`,
    and `length` the tokens in an example of text; `transform` names what is done to each image.

    Raises UsageError for an option that the data have no use for.
    """
    request = Request(
        root=root,
        split=split,
        samples=samples,
        seed=seed,
        normalize=normalize,
        download=download,
        target=target,
        tokenizer=tokenizer,
        length=length,
        transform=transform,
    )
    if _names_function(spec):
        return _from_function(spec, request)
    examples = _open_known(spec, request) if spec in KNOWN else _open_form(spec, request)
    if transform is not None:
        examples = transformed(examples, transform, source=spec, seed=seed)
    return draw(examples, source=spec, samples=samples, seed=seed, normalize=normalize)


def _open_known(spec: str, request: Request) -> Examples:
    entry = KNOWN[spec]
    request.require_used(spec, SETS)
    split = _one_of(spec, request.split, entry.splits)
    return replace(entry.open(split, request.root, request.download), split=split)


def _open_form(spec: str, request: Request) -> Examples:
    form, rest = _form_of(spec)
    request.require_used(spec, form.uses)
    if "split" not in form.uses:
        _one_of(spec, request.split, (ALL,))
    return form.open(rest, request)


def _form_of(spec: str) -> tuple[Form, str]:
    """The form that `spec` is written in, and its part that tells which data."""
    prefix, _, rest = spec.partition(":")
    if prefix in PREFIXES and rest:
        return PREFIXES[prefix], rest
    path = Path(spec)
    if is_hf_dataset(path):
        return PREFIXES["hfdataset"], spec
    if path.suffix.lower() in SUFFIXES and not path.is_dir():
        return SUFFIXES[path.suffix.lower()], spec
    raise _unknown(spec)


def _names_function(spec: str) -> bool:
    place, _, name = spec.rpartition(":")
    is_module = re.fullmatch(r"\w+(\.\w+)*", place) and place not in PREFIXES
    if not all(map(str.isidentifier, name.split("."))) or not (place.endswith(".py") or is_module):
        return False
    return not _near_prefix(place) or _is_module(place)


def _near_prefix(word: str) -> list[str]:
    return get_close_matches(word, PREFIXES, n=1, cutoff=0.75)


def _is_module(name: str) -> bool:
    """Whether there is a module of this name, without dots, to import or in this folder."""
    return Path(f"{name}.py").is_file() or Path(name).is_dir() or find_spec(name) is not None


def _from_function(spec: str, request: Request) -> ProbeSet:
    request.require_used(spec, IMAGES)
    _one_of(spec, request.split, (ALL,))
    function = load_function(spec)
    with errors_reported(spec):
        data = function()
    return as_probe_set(
        data,
        source=spec,
        samples=request.samples,
        seed=request.seed,
        normalize=request.normalize,
        transform=request.transform,
    )


def _one_of(spec: str, split: str | None, splits: tuple[str, ...]) -> str:
    if split is None:
        return splits[0]
    if split not in splits:
        raise UsageError(
            f"{spec} has no split '{split}'", f"give --split {' or '.join(splits)}, or leave it out"
        )
    return split


def _unknown(spec: str) -> InputError:
    names = {name.lower(): name for name in known()}
    near = [PREFIXES[prefix].title for prefix in _near_prefix(spec.partition(":")[0])]
    near = near or [names[name] for name in get_close_matches(spec.lower(), names, 1, 0.5)]
    path = Path(spec)
    if spec and path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        one = f"give one of its files, such as {files[0]}, or " if files else ""
        return InputError(
            f"{spec}: a folder of no known kind",
            f"{one}write imagefolder:{spec} if it has a folder of images for each class",
        )
    if path.is_file() and path.suffix == ".py":
        return InputError(f"{spec}: a file of code", f"write {spec}:function for what one returns")
    if path.is_file():
        return InputError(
            f"{spec}: a file of no known kind",
            f"write text:{spec} if it is text; else give a file {', '.join(SUFFIXES)}",
        )
    hint = f"did you mean {near[0]}? There are" if near else "there are"
    return InputError(f"no data called '{spec}'", f"{hint} {', '.join(known())}")
