"""A table of Arrow's, from a file or a Hugging Face data set, becomes examples.

What its rows are is told by the columns, in this order:

- a column `text`, or with --tokenizer the only one of strings: text, made tokens;
- a column `input_ids`: token sequences, with the masks and positions that models take;
- a column of encoded pictures: images;
- columns of lists: arrays, by the rule of items.py;
- else all columns but the target, in their order, are features, which must be numbers.

Columns beside those of text, tokens, pictures or lists are left out. But for features, the target
is found by its name where it is not given.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np

from condcli.data.arrays import in_memory
from condcli.data.collation import from_items
from condcli.data.features import feature_matrix, is_sound, is_text, target_array
from condcli.data.image_folders import picture_of
from condcli.data.items import TARGETS, TOKENS, target_name
from condcli.data.probe_set import Examples
from condcli.data.request import Request
from condcli.data.tokenization import find_tokenizer
from condcli.errors import InputError, UsageError

TEXT = "text"
MASK = "attention_mask"
TOKEN_INPUTS = (TOKENS, MASK, "token_type_ids", "position_ids")


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A table, and what is asked of it."""

    table: Any  # a pyarrow.Table
    source: str
    request: Request
    class_names: Mapping[str, tuple[str, ...]]  # of columns whose integers are classes

    def of_type(self, fits: Callable[[Any], bool]) -> list[str]:
        """The columns whose type `fits`."""
        return [field.name for field in self.table.schema if fits(field.type)]

    def value(self, name: str, index: int) -> Any:
        """One value, as Python has it; InputError where there is none.

        Checked first: what was read can be damaged, and Arrow follows any offset.
        """
        part = self.table[name].slice(index, 1)
        value = part[0].as_py() if is_sound(part) else None
        if value is None:
            raise InputError(
                f"{self.source}: column '{name}', row {index + 1}: the value is missing or damaged",
                "leave the row out, or write the data again",
            )
        return value


def from_table(
    table: Any,
    *,
    source: str,
    request: Request,
    class_names: Mapping[str, tuple[str, ...]] | None = None,
) -> Examples:
    """The rows of a pyarrow.Table; `class_names` of the columns whose integers are classes.

    Raises UsageError when the target is to be named or is no column, or for options that rows of
    this kind have no use for.
    """
    rows = Rows(table=table, source=source, request=request, class_names=class_names or {})
    given = _given_targets(rows)
    others = [name for name in table.column_names if not _is_target(name, given)]
    strings = [name for name in rows.of_type(is_text) if name in others]
    lists = [name for name in rows.of_type(_is_list) if name in others]
    pictures = [name for name in rows.of_type(_is_picture) if name in others]
    if TEXT in strings or (request.tokenizer and len(strings) == 1):
        return _texts(rows, TEXT if TEXT in strings else strings[0], given)
    if TOKENS in lists:
        return _arrays(rows, [name for name in TOKEN_INPUTS if name in lists], given)
    if pictures:
        return _pictures(rows, pictures[0], given)
    if lists:
        return _arrays(rows, lists, given)
    return _features(rows, given)


def _texts(rows: Rows, column: str, given: Sequence[str]) -> Examples:
    rows.request.require_used(rows.source, {"target", "tokenizer", "length"})
    length = rows.request.length
    encode = find_tokenizer(rows.request.tokenizer, longest=length)

    def inputs(index: int) -> dict[str, Any]:
        tokens = encode(rows.value(column, index))
        if not tokens:
            raise InputError(
                f"{rows.source}: column '{column}', row {index + 1}: no text", "leave the row out"
            )
        return {TOKENS: np.array(tokens), MASK: np.ones(len(tokens), dtype=np.int64)}

    return _examples(rows, inputs, _targets(rows, given, [TOKENS]), length=length)


def _arrays(rows: Rows, columns: Sequence[str], given: Sequence[str]) -> Examples:
    rows.request.require_used(rows.source, {"target"})

    def inputs(index: int) -> dict[str, Any]:
        return {name: np.array(rows.value(name, index)) for name in columns}

    length = _longest(rows) if TOKENS in columns else 0
    return _examples(rows, inputs, _targets(rows, given, columns), length=length)


def _longest(rows: Rows) -> int:
    """The length that all token sequences are padded to, 0 if they have one length.

    Not that of a batch: neither the numbers nor the digest of the data may depend on its size.
    """
    from pyarrow import compute

    ends = compute.min_max(compute.list_value_length(rows.table[TOKENS])).as_py()
    return 0 if ends["min"] == ends["max"] else int(ends["max"])


def _pictures(rows: Rows, column: str, given: Sequence[str]) -> Examples:
    rows.request.require_used(rows.source, {"target", "transform"})

    def inputs(index: int) -> dict[str, Any]:
        stored = rows.value(column, index)
        content = stored.get("bytes") if isinstance(stored, dict) else stored
        try:
            picture = picture_of(io.BytesIO(content or b""))
            picture.load()
        except Exception as error:  # Pillow's decoders raise almost anything on damaged images
            raise InputError(
                f"{rows.source}: column '{column}', row {index + 1}: no image that can be read",
                "store the images themselves, not paths, or leave the row out",
            ) from error
        return {column: picture}

    return _examples(rows, inputs, _targets(rows, given, [column]))


def _features(rows: Rows, given: Sequence[str]) -> Examples:
    rows.request.require_used(rows.source, {"target"})
    columns = rows.table.column_names
    if not given:
        raise UsageError(
            f"{rows.source} does not say which column is to be predicted",
            f"give --target COLUMN, one of {_listed(columns)}",
        )
    features = [name for name in columns if name not in given]
    if not features:
        raise UsageError(f"{rows.source} has no column but the target", "leave one as a feature")
    x = feature_matrix(rows.table, features, rows.source)
    y, names = target_array(rows.table, given, rows.source)
    names = names or rows.class_names.get(given[0])
    return in_memory(
        x, y, source=rows.source, classes=len(names) if names else None, class_names=names
    )


def _examples(
    rows: Rows,
    inputs: Callable[[int], dict[str, Any]],
    targets: Sequence[str],
    *,
    length: int = 0,
) -> Examples:
    """Examples of what `inputs` makes of a row and its target, if there is one."""
    names: tuple[str, ...] | None = None
    if not targets:
        item: Callable[[int], Any] = inputs
    elif targets[0] in rows.of_type(_is_list):
        names = rows.class_names.get(targets[0])

        def item(index: int) -> Any:
            return {**inputs(index), "y": np.array(rows.value(targets[0], index))}
    else:
        labels, words = target_array(rows.table, targets, rows.source)
        names = words or rows.class_names.get(targets[0])

        def item(index: int) -> Any:
            return {**inputs(index), "y": labels[index]}

    made = from_items(
        item, rows.table.num_rows, source=rows.source, seed=rows.request.seed, length=length
    )
    return replace(made, classes=len(names) if names else None, class_names=names)


def _given_targets(rows: Rows) -> list[str]:
    """The columns of --target, all of them there."""
    given = rows.request.target.split(",") if rows.request.target else []
    columns = rows.table.column_names
    for name in given:
        if name not in columns:
            near = get_close_matches(name, columns, n=1)
            hint = f"did you mean '{near[0]}'? There are" if near else "there are"
            raise UsageError(
                f"--target: {rows.source} has no column '{name}'", f"{hint} {_listed(columns)}"
            )
    return given


def _targets(rows: Rows, given: Sequence[str], inputs: Sequence[str]) -> Sequence[str]:
    """The columns to be predicted: those given, else by the rule of items.py."""
    if given:
        return given
    found = [name for name in rows.table.column_names if _is_target(name, ())]
    name = target_name([*inputs, *found], rows.source)
    return [name] if name else []


def _is_target(name: str, given: Sequence[str]) -> bool:
    return name in given if given else name.lower() in TARGETS


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    kind = getattr(kind, "storage_type", kind)  # that of an extension, such as a tensor
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_picture(kind: Any) -> bool:
    """Bytes, or a struct with bytes and a path, as Hugging Face stores images."""
    from pyarrow import types

    if types.is_struct(kind):
        return any(field.name == "bytes" and _is_picture(field.type) for field in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _listed(columns: Sequence[str]) -> str:
    more = f", … ({len(columns)} in all)" if len(columns) > 20 else ""
    return ", ".join(columns[:20]) + more
