"""The tree of modules that the names in a state_dict describe. Needs no torch: names and shapes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

DEEPEST = 24  # parts of a name; a hostile one may have any number


@dataclass(frozen=True, slots=True)
class Spec:
    """What is known of a tensor without its numbers."""

    shape: tuple[int, ...]
    dtype: str = "float32"  # as torch writes it

    @property
    def is_floating(self) -> bool:
        """Whether it can be a parameter: integers and truth values are buffers."""
        return "float" in self.dtype


Specs = Mapping[str, Spec]


@dataclass(slots=True)
class Node:
    """A module: its own tensors and its submodules, by the last part of their names."""

    path: tuple[str, ...] = ()
    tensors: dict[str, Spec] = field(default_factory=dict)
    children: dict[str, Node] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The dotted name, empty for the network itself."""
        return ".".join(self.path)

    def walk(self) -> Iterator[Node]:
        """The module and all those below it, each before its submodules."""
        yield self
        for child in self.children.values():
            yield from child.walk()

    def specs(self) -> Iterator[tuple[str, Spec]]:
        """Every tensor in it, by its name relative to the module."""
        yield from self.tensors.items()
        for name, child in self.children.items():
            yield from ((f"{name}.{inner}", spec) for inner, spec in child.specs())


def tree_of(specs: Specs) -> Node:
    """The modules in the order in which they first appear; numbered ones by number.

    What lies deeper than `DEEPEST` modules stays one name.
    """
    root = Node()
    for full_name, spec in specs.items():
        *modules, tensor = full_name.split(".", DEEPEST)
        node = root
        for name in modules:
            node = node.children.setdefault(name, Node((*node.path, name)))
        node.tensors[tensor] = spec
    for node in root.walk():
        if all(map(is_number, node.children)):  # safetensors sorts 10 before 2
            node.children = dict(sorted(node.children.items(), key=lambda item: int(item[0])))
    return root


def is_number(name: str) -> bool:
    """Whether a Sequential or a list can have given this name."""
    return re.fullmatch(r"0|[1-9][0-9]{0,5}", name) is not None
