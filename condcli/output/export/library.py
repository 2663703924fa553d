"""Libraries that only some exports need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from condcli.errors import UsageError


def library(module: str, *, extra: str, form: str) -> Any:
    """The module, imported. Raises `UsageError`, naming the extra, where it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(
            f"{form} needs the library {module.partition('.')[0]}",
            f"install it: pip install 'condcli[{extra}]'",
        ) from error
