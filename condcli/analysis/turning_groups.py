"""Turning points in few sentences: those of one kind that happen together are told together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from condcli.analysis.metrics import METRICS
from condcli.analysis.turning_points import TurningPoint, short

_TOLD = 10  # so many groups are told, the rest counted
_NAMED = 3  # so many layers are named each
_LONGEST = 64  # characters of a name in a sentence
_SHARE = 10  # of the files, one in so many: as far apart is together
_FIRST = ("unknown", "dominated", "free")  # of the events, and then of the metrics
_THEN = ("loss", "weight_norm", "dying", "full")
_PHRASES = {  # of an event of several layers, {when} is "step 3" or "steps 3 to 9"
    "rises": "{words} rises {folds}-fold between steps {since} and {step}",
    "falls": "{words} falls {folds}-fold between steps {since} and {step}",
    "gets-unknown": "{words} is unknown from {when} on",
    "gets-infinite": "{words} is infinite from {when} on",
    "gets-dominated": "enter weight domination at {when}; first {first}",
    "begins-dominated": "are in weight domination from the start",
    "gets-free": "leave weight domination at {when}",
    "gets-many": "{words} pass 10 % of the units at {when}",
    "gets-few": "{words} are back from 10 % of the units at {when}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    members: Sequence[TurningPoint]  # by step, of one event and metric

    @property
    def rank(self) -> tuple[int, int, float]:
        """What counts most is the least."""
        one = self.members[0]
        places = [
            *(n for n, word in enumerate(_FIRST) if one.event.endswith(word)),
            *(n for n, word in enumerate(_THEN, len(_FIRST)) if one.metric == word),
            len(_FIRST) + len(_THEN),
        ]
        return places[0], -len(self.members), -max(each.fold or 0 for each in self.members)


def told(
    found: Sequence[TurningPoint], steps: Sequence[int], names: Sequence[str]
) -> Mapping[str, str]:
    """Sentences on what counts most, by the step or steps that they are of.

    `steps` are those of all files, `names` the layers, activations and "network" in order.
    """
    groups = sorted(_groups(found, steps), key=lambda group: group.rank)
    sentences: dict[str, str] = {}
    for group in sorted(groups[:_TOLD], key=lambda group: group.members[0].step):
        title = _when([each.step for each in group.members])
        sentence = _sentence(group.members, names)
        sentences[title] = "; ".join(filter(None, [sentences.get(title), sentence]))
    if len(groups) > _TOLD:
        sentences["more"] = f"{len(groups) - _TOLD} more with --turning-points"
    return sentences


def _groups(found: Sequence[TurningPoint], steps: Sequence[int]) -> list[_Group]:
    place = {step: k for k, step in enumerate(steps)}
    together = max(1, len(steps) // _SHARE)
    groups: list[list[TurningPoint]] = []
    newest: dict[tuple[str, str], list[TurningPoint]] = {}
    for each in found:
        kind = (each.event, each.metric)
        group = newest.get(kind)
        if group is None or not _joins(each, group, place, together):
            group = newest[kind] = []
            groups.append(group)
        group.append(each)
    return [_Group(members=group) for group in groups]


def _joins(
    each: TurningPoint, group: Sequence[TurningPoint], place: Mapping[int, int], together: int
) -> bool:
    """Whether it is near enough, and of a name that is not in the group yet."""
    near = place[each.step] - place[group[0].step] <= together
    return near and all(each.name != other.name for other in group)


def _sentence(members: Sequence[TurningPoint], names: Sequence[str]) -> str:
    one = members[0]
    if len(members) == 1:
        since = f", between steps {one.since} and {one.step}" if one.since < one.step else ""
        return f"{_cut(one.name)}: {one.what}{since}"
    steps = [each.step for each in members]
    folds = list(dict.fromkeys(short(f) for f in sorted(each.fold or 0 for each in members)))
    phrase = _PHRASES[one.event].format(
        words=METRICS[one.metric].words,
        folds=folds[0] if len(folds) == 1 else f"{folds[0]}- to {folds[-1]}",
        since=min(each.since for each in members),
        step=max(steps),
        when=_when(steps),
        first=f"{_cut(one.name)} {one.what}",
    )
    return f"{_listed([each.name for each in members], names)}: {phrase}"


def _when(steps: Sequence[int]) -> str:
    first, last = min(steps), max(steps)
    return f"step {first}" if first == last else f"steps {first} to {last}"


def _listed(members: Sequence[str], names: Sequence[str]) -> str:
    """The members in the network's order, the middle of many left out."""
    chosen = set(members)
    ordered = [_cut(name) for name in names if name in chosen]
    if len(ordered) <= _NAMED:
        return ", ".join(ordered)
    return f"{ordered[0]} … {ordered[-1]} ({len(ordered)})"


def _cut(name: str) -> str:
    """The name, of a long one both ends: they tell it apart."""
    half = _LONGEST // 2
    return name if len(name) <= _LONGEST else f"{name[:half]}…{name[-half:]}"
