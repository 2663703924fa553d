"""Blocks that differ in their sizes alone, as one class with those sizes as its arguments."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from condcli.models.guesses.layer import Argument, Call, Layer
from condcli.models.scaffolding.plan import Block, Filler, Part, Sequence, Tensor

KEYWORDS = ("False", "None", "True")
ROOT = "Net"
TAKEN = {ROOT, "TransposedLinear"}  # by other things in the file


@dataclass(slots=True, eq=False)
class Family:
    """All blocks with the same attributes, and how their sizes become arguments."""

    block: Block  # the first of them
    name: str
    sizes: list[list[int]]  # of each block, in the order of the source
    count: int = 0  # of places where one is
    texts: list[str] = field(default_factory=list)  # of each size: a number or an argument
    arguments: dict[str, int] = field(default_factory=dict)  # the first size that each stands for


def families(root: Part) -> dict[Hashable, Family]:
    """The classes that are needed, by `skeleton`, each after those that it uses."""
    found: dict[Hashable, Family] = {}
    taken = set(TAKEN)
    for block in _blocks(root):
        key = skeleton(block)
        if key not in found:
            name = _free_name(_class_name(block.path), taken) if block.path else ROOT
            found[key] = Family(block, name, [])
            taken.add(name)
        found[key].sizes.append([size for _, size in numbers(block)])
        found[key].count += 1
    for family in found.values():
        _make_arguments(family)
    return found


def skeleton(part: Part | Filler | Call | Argument) -> Hashable:
    """All of it but the sizes."""
    if isinstance(part, Block):
        return tuple((name, skeleton(member)) for name, member in part.members)
    if isinstance(part, Sequence):
        return (part.is_chain, *map(skeleton, part.items))
    if isinstance(part, Tensor):
        return part.role, skeleton(part.call)
    if isinstance(part, Layer | Filler):
        return skeleton(part.call)
    if isinstance(part, Call):
        return (part.function, *map(skeleton, part.arguments))
    if isinstance(part.value, Call):
        return part.name, skeleton(part.value)
    return part.name, part.value if isinstance(part.value, str) else None


def numbers(part: Part | Filler | Call) -> Iterator[tuple[str, int]]:
    """The sizes in it, each with the name of the argument that takes it."""
    if isinstance(part, Block):
        for _, member in part.members:
            yield from numbers(member)
    elif isinstance(part, Sequence):
        for item in part.items:
            yield from numbers(item)
    elif isinstance(part, Call):
        for argument in part.arguments:
            if isinstance(argument.value, Call):
                yield from numbers(argument.value)
            elif isinstance(argument.value, int):
                yield argument.name, argument.value
    else:
        yield from numbers(part.call)


def _blocks(part: Part | Filler) -> Iterator[Block]:
    if isinstance(part, Sequence):
        for item in part.items:
            yield from _blocks(item)
    elif isinstance(part, Block):
        for _, member in part.members:
            yield from _blocks(member)
        yield part


def _make_arguments(family: Family) -> None:
    """Sizes that vary become arguments, those that vary alike the same one."""
    names = [name for name, _ in numbers(family.block)]
    known: dict[tuple[int, ...], str] = {}
    for position, (name, values) in enumerate(
        zip(names, zip(*family.sizes, strict=True), strict=True)
    ):
        if len(set(values)) == 1:
            family.texts.append(str(values[0]))
            continue
        if values not in known:
            known[values] = _free_name(name, set(known.values()))
            family.arguments[known[values]] = position
        family.texts.append(known[values])


def _class_name(path: tuple[str, ...]) -> str:
    """A name in capitals from the last part of the path that has letters."""
    words = [re.sub(r"[^A-Za-z0-9]+", "_", part).strip("_0123456789") for part in path]
    named = [word for word in words if word]
    if not named:
        return "Block"
    camel = "".join(word[:1].upper() + word[1:] for word in named[-1].split("_"))
    is_numbered = not words[-1]
    if is_numbered:
        camel = camel.removesuffix("s")
    is_unclear = len(camel) == 1 or is_numbered or camel in KEYWORDS
    return f"{camel.removesuffix('Block')}Block" if is_unclear else camel


def _free_name(name: str, taken: set[str]) -> str:
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}{number}", number + 1
    return free
