"""Where the weights are in what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from condcli.errors import InputError, UsageError
from condcli.models.state_dict import under

# In order of preference where a checkpoint has several.
PLACES = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "module",
    "weights", "params", "state_dict_ema", "model_ema", "ema_state_dict", "ema",
)  # fmt: skip
NO_WEIGHTS = ("optim", "sched", "lr_", "scaler", "amp")  # what such keys begin with holds none
DEEPEST = 4  # nested dicts; also what ends the search in a dict that contains itself
SHOWN = 8

Weights = Mapping[str, Tensor] | nn.Module


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """The weights, as tensors or (trusted checkpoints only) in a module, and the keys to them."""

    weights: Weights
    place: tuple[str, ...]
    others: tuple[str, ...] = ()  # places that were left
    dropped: tuple[str, ...] = ()  # entries of the state_dict that are no tensors


def find_weights(data: object, path: Path, key: str | None = None) -> Found:
    """The state_dict or module in `data`: at `key`, at a well-known place or the only one.

    Raises InputError when there is none or no telling which, and UsageError when none is at `key`.
    """
    found = _everywhere(data) if key is None else _at(data, key.split("."))
    if key is not None and not found:
        names = ", ".join(dict.fromkeys(places(data))) or "none"
        raise UsageError(f"{path} has no weights at {key!r}", f"it has {names}")
    if not found:
        raise InputError(
            f"{path} holds {_described(data)}, and no state_dict",
            "torch.save the network's state_dict()",
        )
    others = tuple(".".join(place) for place, _ in found[1:])
    place, value = found[0]
    if others and place[-1:] and place[-1] not in PLACES:
        first = ".".join(place)
        raise InputError(
            f"{path} holds several state_dicts: {', '.join(map(repr, (first, *others)))}",
            f"say which with --weights {first}",
        )
    return _found(place, value, others)


def holds_weights(data: object, key: str | None = None) -> bool:
    """Whether there are weights: at `key` if there is anything, else anywhere."""
    if key is not None and isinstance(data, Mapping) and key.partition(".")[0] in data:
        return bool(_at(data, key.split(".")))
    return bool(_everywhere(data))


def places(data: object) -> list[str]:
    """Where `data` holds weights, as --weights takes it; the best first."""
    well_known = [place for place, _ in _at_known_places(data)]
    return [".".join(place) for place in (*well_known, *(p for p, _ in _at_any_place(data)))]


_Place = tuple[tuple[str, ...], object]


def _found(place: tuple[str, ...], value: object, others: tuple[str, ...]) -> Found:
    if isinstance(value, nn.Module):
        return Found(weights=value, place=place, others=others)
    entries = value if isinstance(value, Mapping) else {}
    return Found(
        weights={name: each for name, each in entries.items() if isinstance(each, Tensor)},
        place=place,
        others=others,
        dropped=tuple(name for name, each in entries.items() if not isinstance(each, Tensor)),
    )


def _everywhere(data: object) -> list[_Place]:
    """At the well-known places, else at any."""
    return list(_at_known_places(data)) or list(_at_any_place(data))


def _at_known_places(data: object) -> Iterator[_Place]:
    waiting: list[_Place] = [((), data)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, nn.Module) or _is_state_dict(value):
            yield place, value
        elif isinstance(value, Mapping) and len(place) < DEEPEST:
            inner = [((*place, key), value[key]) for key in PLACES if key in value]
            waiting.extend(reversed(inner))


def _at_any_place(data: object) -> Iterator[_Place]:
    """On the first level that has any."""
    level: list[_Place] = [((), data)]
    for _ in range(DEEPEST):
        # Once each: dicts that share others could make more places than there is time for.
        outside = {id(value): (place, value) for place, value in level}
        level = [
            ((*place, str(key)), inner)
            for place, value in outside.values()
            if isinstance(value, Mapping)
            for key, inner in value.items()
            if not str(key).lower().startswith(NO_WEIGHTS)
        ]
        found = [
            each for each in level if isinstance(each[1], nn.Module) or _is_state_dict(each[1])
        ]
        if found:
            yield from found
            return


def _at(data: object, keys: list[str]) -> list[_Place]:
    """The weights at the dotted path, whose end may be a prefix of the tensors' names."""
    value, place = data, []
    while keys and isinstance(value, Mapping) and keys[0] in value:
        place.append(keys.pop(0))
        value = value[place[-1]]
    if isinstance(value, nn.Module) and not keys:
        return [(tuple(place), value)]
    if not _is_state_dict(value):  # its own way on: state_dict.student, said as student
        inner = _everywhere(value)
        if not inner:
            return []
        place, value = [*place, *inner[0][0]], inner[0][1]
    if not isinstance(value, Mapping):
        return []
    chosen = under(value, f"{'.'.join(keys)}.") if keys else value
    return [((*place, *keys), chosen)] if chosen else []


def _is_state_dict(value: object) -> bool:
    """Whether most entries are tensors, by name, and none is a dict or module that holds some."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        return False
    if 2 * sum(isinstance(each, Tensor) for each in value.values()) <= len(value):
        return False
    return not any(
        isinstance(each, nn.Module)
        or (isinstance(each, Mapping) and any(isinstance(v, Tensor) for v in each.values()))
        for each in value.values()
    )


def _described(data: object) -> str:
    if isinstance(data, Mapping):
        names = ", ".join(repr(key) for key in list(data)[:SHOWN])
        return f"a dict of {names}" if names else "an empty dict"
    return f"one {type(data).__name__}"
