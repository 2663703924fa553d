"""The JSON files beside weights: an index, a configuration, the state of a trainer."""

from __future__ import annotations

import json
from pathlib import Path

from condcli.errors import InputError

LARGEST = 64 << 20  # bytes; the index of the largest models has some hundred kilobytes


def read_json(path: Path) -> dict[str, object]:
    """The JSON object in the file at `path`, or an InputError."""
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path} is larger than 64 MiB", "check what it is")
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise InputError(f"{path} is no JSON", "save or download it again") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", "check the path") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} holds no JSON object", "save or download it again")
    return data
