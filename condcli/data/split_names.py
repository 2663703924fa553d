"""Array files that hold several splits: `x_train`, `y_train`, `x_test`, … or `train_images`, …."""

from __future__ import annotations

import re
from collections.abc import Iterable

from condcli.errors import UsageError

SPLIT = "train|test|val|valid|validation"
ALL = "all"  # the only split of data that have none
NAME = re.compile(rf"(?:({SPLIT})_(.+)|(.+)_({SPLIT}))", re.IGNORECASE)


def names_of_split(
    names: Iterable[str], asked: str | None, source: str
) -> tuple[str, dict[str, str]]:
    """The split, and the names of its arrays by what they are without it: `y` for `y_train`.

    Names that do not all tell a split are those of the only one, `all`. Unless another is asked
    for, it is `train`, or the first. Raises UsageError when there is no such split.
    """
    found = {name: NAME.fullmatch(name) for name in names}
    splits: dict[str, dict[str, str]] = {}
    for name, match in found.items():
        before, after, rest, last = match.groups() if match else (None,) * 4
        splits.setdefault((before or last or ALL).lower(), {})[after or rest or name] = name
    if ALL in splits or not splits:
        splits = {ALL: {name: name for name in found}}
    split = asked or ("train" if "train" in splits else next(iter(splits)))
    if split not in splits:
        raise UsageError(
            f"{source} has no split '{split}'",
            f"give --split {' or '.join(splits)}, or leave it out",
        )
    return split, splits[split]
