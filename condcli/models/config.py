"""The config.json beside weights: which network they are of, as transformers or timm write it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from condcli.errors import InputError
from condcli.models.formats.json_file import read_json

NAME = "config.json"


def find_config(path: Path) -> Path | None:
    """The configuration of a network in the folder `path`, or beside the file; None if none is."""
    config = (path if path.is_dir() else path.parent) / NAME
    if not config.is_file():
        return None
    try:
        words = read_json(config)
    except InputError:  # another program's; it is no part of what was asked for
        return None
    return config if {"model_type", "architectures", "architecture"} & words.keys() else None


def named_by(config: Path) -> tuple[str, dict[str, object]]:
    """The architecture that the file at `config` names, as --arch and --arch-arg take it."""
    words = read_json(config)
    if "model_type" in words or "architectures" in words:
        return f"hf:{config}", {}
    args = words.get("model_args")
    return f"timm:{words['architecture']}", dict(args) if isinstance(args, Mapping) else {}
