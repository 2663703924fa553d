"""Weights in several files, and the index that says which tensor is in which."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath

from condcli.errors import InputError
from condcli.files import Sources
from condcli.models.formats.containers import read_file
from condcli.models.formats.content import Content
from condcli.models.formats.json_file import parse_json

ENDING = ".index.json"
SHOWN = 3


def read_shards(index: Path, sources: Sources, *, trust: bool = False) -> Content:
    """The tensors of all files that the `….index.json` file at `index` names.

    Raises InputError when a file or a tensor is missing, and what reading a file raises.
    """
    places = _weight_map(index, sources)
    files = tuple(index.with_name(name) for name in sorted(set(places.values())))
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise InputError(
            f"{index}: {len(missing)} of {len(files)} files are missing: {_some(missing)}",
            "put them beside the index",
        )
    contents = [read_file(file, sources, trust=trust) for file in files]
    tensors: dict[str, object] = {}
    for content in contents:
        tensors |= content.data if isinstance(content.data, Mapping) else {}
    absent = [name for name in places if name not in tensors]
    if absent:
        raise InputError(
            f"{index}: {len(absent)} tensors are in none of its files: {_some(absent)}",
            "save or download the checkpoint again",
        )
    return Content(
        data=tensors, format=f"{contents[0].format}, {len(files)} files", files=(*files, index)
    )


def _weight_map(index: Path, sources: Sources) -> dict[str, str]:
    """The name of the file for each tensor's name; they are beside the index, and nowhere else."""
    data = parse_json(index, sources.open(index))
    places = data.get("weight_map")
    if not isinstance(places, dict) or not places:
        raise InputError(f"{index} has no weight_map", "give the index of a sharded checkpoint")
    for name in places.values():
        if not isinstance(name, str) or PurePath(name).name != name or name in ("", ".", ".."):
            raise InputError(
                f"{index} names {name!r}, which is no file beside it", "download it again"
            )
    return places


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
