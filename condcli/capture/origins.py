"""What the tensors of a forward pass are computed from: data, or parameters and constants alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

Origin = frozenset[int]  # ids of parameters; none: computed from constants
CONSTANT: Origin = frozenset()

# Of all arguments but the first, these want to know no more than the shape or the type.
OF_THE_FIRST = frozenset({"to", "type_as", "expand_as", "view_as", "reshape_as"})
OF_NONE = frozenset(
    {f"{made}_like" for made in ("zeros", "ones", "empty", "full", "rand", "randn")}
    | {f"new_{made}" for made in ("zeros", "ones", "empty", "full")}
)


class Origins:
    """The tensors of one forward pass that no data went into, and the parameters that did.

    Known are parameters, buffers and what is made of no tensor at all; any other tensor is taken
    for data, and so is what is computed from it. A view shares the origin of its base.
    """

    def __init__(self, parameters: Mapping[int, nn.Parameter]) -> None:
        self._of_parameter = {key: frozenset([key]) for key in parameters}
        # The tensor is kept: a freed one's id is soon another's.
        self._known: dict[int, tuple[Tensor, Origin]] = {}

    def restart(self, buffers: Iterable[Tensor]) -> None:
        """Forget the last pass; these are the constants that the next one starts from."""
        self._known = {id(buffer): (buffer, CONSTANT) for buffer in buffers}

    def of(self, tensor: Tensor) -> Origin | None:
        """The parameters that a tensor is computed from, and nothing but constants; else None."""
        base = tensor if tensor._base is None else tensor._base
        if id(base) in self._known:
            return self._known[id(base)][1]
        return self._of_parameter.get(id(base))

    def see_call(self, name: str, args: Any, kwargs: Mapping[str, Any], out: Any) -> Origin | None:
        """The origin of what a call made, from its arguments; remembered for later calls."""
        if name in OF_NONE:
            origin: Origin | None = CONSTANT
        elif name in OF_THE_FIRST:
            origin = self._of_arguments(args[:1])
        else:
            origin = self._of_arguments((args, *kwargs.values()) if kwargs else args)
        if origin is None:
            if self._known and (_in_place(name) or "out" in kwargs):
                self._now_data(args, kwargs, out)
            return None
        for tensor in tensors_in(out):
            base = tensor if tensor._base is None else tensor._base
            if id(base) not in self._of_parameter:
                self._known[id(base)] = (base, origin)
        return origin

    def _of_arguments(self, args: Any) -> Origin | None:
        origin = CONSTANT
        for tensor in tensors_in(args):
            found = self.of(tensor)
            if found is None:
                return None
            origin |= found
        return origin

    def _now_data(self, args: Any, kwargs: Mapping[str, Any], out: Any) -> None:
        """Data were written into a tensor: the result, or the first argument of an assignment."""
        for tensor in tensors_in([out, kwargs.get("out"), args[:1]]):
            base = tensor if tensor._base is None else tensor._base
            self._known.pop(id(base), None)


def _in_place(name: str) -> bool:
    """Whether the function writes into its first argument: ``add_``, ``__iadd__``, but not
    ``__add__``.
    """
    if name.startswith("__"):
        return name.startswith("__i") or name == "__setitem__"
    return name.endswith("_")


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors among a call's arguments or results, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))
