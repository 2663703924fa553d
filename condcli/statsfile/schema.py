"""How a record of `condcli.stats` maps to an HDF5 group, read off the dataclass itself.

Array fields are datasets, the others attributes; a field that is None is left out, and `name` is
the group's own name. A file where a factor stands for a moment is of schema version 2, as readers
of version 1 would miss the moment; all others are of version 1.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from hashlib import blake2b
from math import prod
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from condcli.errors import InputError
from condcli.stats import (
    ActivationStats,
    LayerSpectra,
    LayerStats,
    Provenance,
    SkippedParameter,
)

FORMAT = "condcli-stats"
VERSION, WITH_FACTORS = VERSIONS = (1, 2)
DIGEST = "blake2b"  # attribute of every dataset and group
SECTIONS = ("layers", "activations", "skipped")  # of a file, and fields of `ProbeStats`
COMPLETE = "complete"  # root attribute, written last

Record = TypeVar(
    "Record", bound=LayerStats | LayerSpectra | ActivationStats | SkippedParameter | Provenance
)
Attribute = str | int | float | bool | list[int]
Array = npt.NDArray[Any]
Shape = tuple[int | None, ...]  # None: of any length

# The two float types: docs/stats-file.md says when each is used.
DTYPES = {"FloatArray": ("<f4", "<f8"), "IntArray": ("<i8",)}


def is_array(annotation: str) -> bool:
    """Whether a field of this type is a dataset."""
    return _bare(annotation) in DTYPES


def attributes_of(record: Record) -> dict[str, Attribute]:
    """The attributes that a record is stored with; `InputError` for a value that has no form."""
    found: dict[str, Attribute] = {}
    for field in fields(record):
        value, annotation = getattr(record, field.name), str(field.type)
        if value is None or field.name == "name" or is_array(annotation):
            continue
        try:
            found[field.name] = _TO_ATTRIBUTE[_bare(annotation)](value)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"{field.name} = {str(value)[:40]} does not fit into a statistics file",
                "correct it where it comes from, the checkpoint or the data",
            ) from error
    return found


def arrays_of(record: Record) -> dict[str, Array]:
    """The arrays that a record is stored with."""
    found = {f.name: getattr(record, f.name) for f in fields(record) if is_array(str(f.type))}
    return {name: array for name, array in found.items() if array is not None}


def record_from(
    kind: type[Record],
    values: Mapping[str, Any],
    array: Callable[[str, tuple[str, ...]], Array | None],
) -> Record:
    """The record with these attribute values; `array(name, dtypes)` reads a dataset, or is None.

    Raises KeyError for what is missing and TypeError for a value of another type.
    """
    found: dict[str, Any] = {}
    for field in fields(kind):
        annotation = str(field.type)
        if is_array(annotation):
            value: Any = array(field.name, DTYPES[_bare(annotation)])
        else:
            value = _FROM_ATTRIBUTE[_bare(annotation)](values.get(field.name))
        if value is None and "None" not in annotation:
            raise KeyError(field.name)
        found[field.name] = value
    return kind(**found)


def has_factor(record: Record) -> bool:
    """Whether a factor stands for one of its moments."""
    return any(name.endswith("_factor") for name in arrays_of(record))


def require_moments(layer: LayerStats) -> None:
    """Raise KeyError unless a layer has, of each side, a moment or all that stands for one."""
    for side in ("input", "grad"):
        parts = [getattr(layer, f"{side}_{part}") is None for part in ("factor", "error", "trace")]
        if parts != 3 * [getattr(layer, f"{side}_moment") is not None]:
            raise KeyError(f"{side}_moment")


def expected_shape(name: str, values: Mapping[str, Any]) -> Shape | None:
    """The shape that a dataset must have by its group's attributes; None for a list of any length.

    Raises ValueError where groups do not divide a dimension.
    """
    sizes = {"input": "d_in", "grad": "d_out"}
    which, _, what = name.partition("_")
    if name == "weight_grad":
        height, groups = values["d_out"], values["groups"]
        return (*_moment_shape(height, groups)[:-1], prod(values["weight_shape"]) // height)
    if what == "count":
        return (values["units"],)
    if which not in sizes:
        return None
    size = values[sizes[which]]
    if what in ("eigenvalues", "floor", "ceiling"):
        each = _moment_shape(size, values["groups"])[-1]
        return (values["groups"], each) if what == "eigenvalues" else (values["groups"],)
    if what == "factor":
        *groups, _, each = _moment_shape(size, values["groups"])
        return (*groups, None, each)
    if what == "mean" or (which == "input" and values["kind"] == "embedding"):
        return (size,)
    return _moment_shape(size, values["groups"])


def digest_of_array(array: Array) -> str:
    """BLAKE2b (128 bits) of the little-endian bytes of an array in C order."""
    return blake2b(np.ascontiguousarray(array).data, digest_size=16).hexdigest()


def digest_of_group(attributes: Mapping[str, Attribute], members: Iterable[tuple[str, str]]) -> str:
    """BLAKE2b (128 bits) of a group's attributes and of its members' names and digests, as JSON."""
    own = {name: attributes[name] for name in attributes if name not in (DIGEST, COMPLETE)}
    text = json.dumps([own, sorted(members)], sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _bare(annotation: str) -> str:
    return annotation.removesuffix(" | None")


def _moment_shape(size: int, groups: int) -> tuple[int, ...]:
    if groups < 1 or size < groups or size % groups:
        raise ValueError(f"{groups} groups do not divide {size}")
    return (size, size) if groups == 1 else (groups, size // groups, size // groups)


def _text(value: str) -> str:
    """The text as HDF5 can hold it: NULs and lone surrogates become visible escapes."""
    return value.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def _integer(value: Any) -> int:
    if not -(2**63) <= int(value) < 2**63:
        raise OverflowError(value)
    return int(value)


def _exactly(kind: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if value is not None and type(value) is not kind:
            raise TypeError(f"{value!r} is not of type {kind.__name__}")
        return value

    return check


def _integers(value: Any) -> tuple[int, ...] | None:
    return None if value is None else tuple(_exactly(int)(item) for item in value)


# By the field's type; the second table refuses what the first would not have written.
_TO_ATTRIBUTE: dict[str, Callable[[Any], Attribute]] = {
    "str": _text,
    "int": _integer,
    "float": float,
    "bool": bool,
    "tuple[int, ...]": lambda value: [_integer(item) for item in value],
}
_FROM_ATTRIBUTE: dict[str, Callable[[Any], Any]] = {
    "str": _exactly(str),
    "int": _exactly(int),
    "float": _exactly(float),
    "bool": _exactly(bool),
    "tuple[int, ...]": _integers,
}
