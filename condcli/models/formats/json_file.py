"""The JSON files beside weights: an index, a configuration, the state of a trainer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO

from condcli.errors import InputError
from condcli.files import unchanged

LARGEST = 64 << 20  # bytes; the index of the largest models has some hundred kilobytes


def read_json(path: Path) -> dict[str, object]:
    """The JSON object in the file at `path`, or an InputError."""
    with unchanged(path) as file:
        return parse_json(path, file)


def parse_json(path: Path, file: IO[bytes]) -> dict[str, object]:
    """The JSON object in the open file at `path`, or an InputError."""
    content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise InputError(f"{path} is larger than 64 MiB", "check what it is")
    try:
        data = json.loads(content.decode())
    except (ValueError, RecursionError):
        raise InputError(f"{path} is no JSON", "save or download it again") from None
    if not isinstance(data, dict):
        raise InputError(f"{path} holds no JSON object", "save or download it again")
    return data
