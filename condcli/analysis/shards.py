"""Whether shards belong together, and where what they add up to comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime, timezone
from itertools import zip_longest
from typing import Any

from condcli.errors import InputError
from condcli.stats import Provenance

Shards = Mapping[str, Provenance]  # by the files' names


def whole(shards: Shards, *, command: str) -> Provenance:
    """The provenance of all shards of a probe set together.

    Raises InputError naming the files where one is no shard, two are the same or were not probed
    alike, or one is missing.
    """
    _require_shards(shards)
    _require_alike(shards)
    _require_all(shards)
    first, parts = next(iter(shards.values())), list(shards.values())
    terms = [part.loss_terms for part in parts]
    counts = _label_counts(parts)
    return replace(
        first,
        **{name: rule([getattr(p, name) for p in parts]) for name, rule in _COMBINED.items()},
        command=command,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        loss=_mean([part.loss for part in parts], terms),
        accuracy=None
        if first.accuracy is None
        else _mean([part.accuracy or 0.0 for part in parts], terms),
        chance=max(counts) / max(1, sum(terms)) if counts else None,
        shard="",
        whole_examples=None,
        label_counts=None,
    )


def _sum_of_digests(digests: Sequence[str]) -> str:
    return f"{sum(int(digest, 16) for digest in digests) % 2**256:064x}"


def _listed(values: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(values))


# Fields that may differ, and what becomes of them; all others must be equal.
_COMBINED: dict[str, Callable[[Sequence[Any]], Any]] = {
    "examples": sum,
    "loss_terms": sum,
    "data_sha256": _sum_of_digests,
    "pass_seconds": max,  # machines run side by side
    "peak_memory_bytes": max,
    "device": _listed,
    "columns": lambda counts: None if None in counts else max(counts),
    "model_source": lambda paths: paths[0],  # the digests tell that they are one model
}
_APART = {"command", "created", "loss", "accuracy", "chance", "shard", "label_counts"}


def _require_shards(shards: Shards) -> None:
    for file, provenance in shards.items():
        if not provenance.shard:
            raise InputError(
                f"{file}: is no shard, but of a whole probe set",
                "pass files that condcli probe --shard I/N wrote",
            )


def _require_alike(shards: Shards) -> None:
    (first, model), *others = shards.items()
    names = [f.name for f in fields(Provenance) if f.name not in _COMBINED.keys() | _APART]
    for file, provenance in others:
        differing = {
            name: (getattr(model, name), getattr(provenance, name))
            for name in names
            if getattr(model, name) != getattr(provenance, name)
        }
        if model.shard.partition("/")[2] != provenance.shard.partition("/")[2]:
            differing["shard"] = (model.shard, provenance.shard)
        if (model.accuracy is None) != (provenance.accuracy is None):
            differing["accuracy"] = (model.accuracy, provenance.accuracy)
        for name, (own, other) in differing.items():
            raise InputError(
                f"{first} and {file} do not belong together: {name} is {own} and {other}",
                "probe all shards of the same model and data, with the same options and versions",
            )


def _require_all(shards: Shards) -> None:
    files: dict[str, str] = {}
    for file, provenance in shards.items():
        if provenance.shard in files:
            raise InputError(
                f"{files[provenance.shard]} and {file} are both shard {provenance.shard}",
                "pass each shard once",
            )
        files[provenance.shard] = file
    first = next(iter(shards.values()))
    of = int(first.shard.partition("/")[2])
    missing = [name for name in (f"{n}/{of}" for n in range(1, of + 1)) if name not in files]
    if missing:
        raise InputError(
            f"shard {', '.join(missing)} of {first.data_source} is missing",
            f"probe it (condcli probe … --shard {missing[0]}), and pass all {of} shards",
        )
    found = sum(provenance.examples for provenance in shards.values())
    if found != first.whole_examples:
        raise InputError(
            f"{', '.join(shards)} have {found} of {first.whole_examples} examples",
            "probe all shards anew, with the same options",
        )


def _label_counts(parts: Sequence[Provenance]) -> list[int]:
    return [sum(each) for each in zip_longest(*(p.label_counts or () for p in parts), fillvalue=0)]


def _mean(values: Sequence[float], weights: Sequence[int]) -> float:
    """Weighted by loss terms."""
    total = sum(value * weight for value, weight in zip(values, weights, strict=True))
    return total / max(1, sum(weights))
