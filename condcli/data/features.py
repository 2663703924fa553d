"""Columns of a table as numbers: features, classes, values to be predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from condcli.errors import InputError

Names = tuple[str, ...]


def feature_matrix(table: Any, columns: Sequence[str], source: str) -> npt.NDArray[np.float64]:
    """The columns (rows, features), in their order; InputError where a value is no number."""
    return np.stack([_numbers(table, name, source) for name in columns], axis=1)


def target_array(
    table: Any, columns: Sequence[str], source: str
) -> tuple[npt.NDArray[Any], Names | None]:
    """What is to be predicted, and the names of its classes where the column holds words.

    One column of integers or truth values is int64 labels (rows,), one of words their places in
    sorted order, any other float64 (rows,). Several columns are float64 (rows, columns).
    """
    if len(columns) > 1:
        return feature_matrix(table, columns, source), None
    (name,) = columns
    if is_text(table[name].type):
        return _classes(table, name, source)
    numbers = _numbers(table, name, source)
    return (numbers.astype(np.int64) if _is_whole(table[name].type) else numbers), None


def is_text(kind: Any) -> bool:
    """Whether a column of this Arrow type holds strings."""
    from pyarrow import types

    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or (types.is_dictionary(kind) and is_text(kind.value_type))
    )


def _classes(table: Any, name: str, source: str) -> tuple[npt.NDArray[np.int64], Names]:
    _require_values(table, name, source)
    words = table[name].to_pylist()
    names, labels = np.unique(np.array(words, dtype=str), return_inverse=True)
    few = 2 * len(names) <= len(words)
    if not few and any(map(_has_fraction, words)) and not all(map(_reads_as_number, words)):
        raise _no_number(name, table[name], source)  # they were numbers to be predicted
    return labels.astype(np.int64), tuple(names.tolist())


def _numbers(table: Any, name: str, source: str) -> npt.NDArray[np.float64]:
    import pyarrow as pa
    from pyarrow import types

    _require_values(table, name, source)
    column = table[name]
    kind = column.type
    if types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)):
        raise _no_number(name, column, source)
    numbers: npt.NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy()
    if not np.isfinite(numbers).all():
        row = int(np.isfinite(numbers).argmin())
        raise InputError(
            f"{source}: column '{name}', row {row + 1}: the value is {numbers[row]}",
            "fill it in, or leave the row out",
        )
    return numbers


def is_sound(column: Any) -> bool:
    """Whether all that an Arrow column refers to lies in it."""
    from pyarrow import ArrowInvalid

    try:
        column.validate(full=True)
    except ArrowInvalid:
        return False
    return True


def _require_values(table: Any, name: str, source: str) -> None:
    column = table[name]
    if not is_sound(column):
        raise InputError(f"{source}: column '{name}' is damaged", "write the data again")
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise InputError(
            f"{source}: column '{name}', row {row + 1}: the value is missing",
            "fill it in, or leave the row or the column out",
        )


def _no_number(name: str, column: Any, source: str) -> InputError:
    """The error that names the first value of `column` that is no number."""
    values = column.to_pylist()
    row = next((row for row, value in enumerate(values) if not _reads_as_number(value)), 0)
    return InputError(
        f"{source}: column '{name}', row {row + 1}: '{str(values[row])[:40]}' is no number",
        "write it as numbers, or leave the column out of the file",
    )


def _reads_as_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return "_" not in str(value)  # which Python allows in numbers


def _has_fraction(word: str) -> bool:
    return "." in word and _reads_as_number(word)


def _is_whole(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_boolean(kind))
