"""`hfdataset:DIR`: what save_to_disk of Hugging Face's `datasets` wrote."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from condcli.data.extras import extra_library
from condcli.data.probe_set import Examples
from condcli.data.request import Request
from condcli.data.table_rows import from_table
from condcli.errors import CondcliError, InputError, UsageError
from condcli.files import Sources

SPLITS, STATE = "dataset_dict.json", "state.json"


def is_hf_dataset(folder: Path) -> bool:
    """Whether save_to_disk of `datasets` wrote this folder."""
    return (folder / SPLITS).is_file() or (folder / STATE).is_file()


def open_hf_dataset(path: str, request: Request) -> Examples:
    """The rows of one split, `train` or the first unless told otherwise; see table_rows.py."""
    folder = Path(path)
    if not is_hf_dataset(folder):
        raise InputError(
            f"{folder}: no data set of Hugging Face's: there is no {STATE} or {SPLITS} in it",
            "give a folder that Dataset.save_to_disk wrote",
        )
    library = extra_library("datasets", extra="hf", source=path)
    split, part = _split(folder, request.split)
    with Sources() as sources:
        try:
            _require_own_files(part, sources)
            dataset = library.load_from_disk(str(part), keep_in_memory=True)  # and not mapped
            table = dataset.with_format("arrow")[:]
        except CondcliError:
            raise
        except Exception as error:  # of pyarrow, json and datasets
            raise InputError(f"{part}: missing, truncated or damaged", "save it again") from error
    if not table.num_rows:
        raise InputError(f"{part}: no rows of data", "give one example or more")
    names = _class_names(dataset.features)
    return replace(from_table(table, source=path, request=request, class_names=names), split=split)


def _split(folder: Path, asked: str | None) -> tuple[str, Path]:
    """The name of the split, and its folder."""
    names = ["all"]
    if (folder / SPLITS).is_file():
        try:
            names = [str(name) for name in json.loads((folder / SPLITS).read_text())["splits"]]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder / SPLITS}: damaged", "save the data set again") from error
    default = "train" if "train" in names else names[0]
    if asked not in (None, *names):
        raise UsageError(
            f"{folder} has no split '{asked}'",
            f"give --split {' or '.join(names)}, or leave it out",
        )
    split = asked or default
    return split, folder if split == "all" and not (folder / SPLITS).is_file() else folder / split


def _require_own_files(folder: Path, sources: Sources) -> None:
    """Raises InputError for a state that names files in other places; opens those that it names."""
    state = json.loads(sources.open(folder / STATE).read())
    for entry in state["_data_files"]:
        name = entry["filename"]
        if Path(name).name != name:
            raise InputError(f"{folder / STATE}: names the file {name}, outside", "save it again")
        sources.open(folder / name)


def _class_names(features: Any) -> dict[str, tuple[str, ...]]:
    """Those of the columns of ClassLabel, alone or in lists."""
    inner = {name: getattr(feature, "feature", feature) for name, feature in features.items()}
    names = {name: getattr(feature, "names", None) for name, feature in inner.items()}
    return {name: tuple(words) for name, words in names.items() if words}
