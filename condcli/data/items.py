"""Which tensors are the inputs, and which the targets.

A pair is (inputs, targets). Tensors with names, be they the arrays of a file, the columns of a
Hugging Face data set or the dicts that a loader gives, follow one rule:

- The target is what is called `y`, `target(s)` or `label(s)`, in small or capital letters.
- A single tensor beside it is the network's input, whatever its name. Several, and `input_ids` or
  `inputs_embeds` even alone, are given to the network by their names.
- Token data (`input_ids`) without a target are their own: each token is to be told from those
  before it. Padding (`attention_mask` 0) has the label -100, which no loss counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from condcli.batch import Batch
from condcli.data.tensors import to_tensors
from condcli.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

TARGETS = ("y", "target", "targets", "label", "labels")
TOKENS = "input_ids"
STAY_NAMED = (TOKENS, "inputs_embeds")
UNLABELLED = -100  # the label that PyTorch's cross entropy leaves out of the loss
ACCEPTED = "give (x, y) pairs, or dicts with a key y, target or label"


def as_pair(item: Any, what: str) -> Batch:
    """Inputs and targets of an example or a batch, as tensors; `what` names it in errors."""
    inputs, targets = divided(item, what)
    x = to_tensors(inputs, what=what if isinstance(inputs, Mapping) else f"{what}: x")
    if targets is None and isinstance(x, Mapping):
        return x, own_labels(x)
    return x, to_tensors(targets, what=f"{what}: y")


def divided(item: Any, what: str) -> tuple[Any, Any]:
    """The same by the rule alone, with nothing converted; None for tokens as their own target."""
    if isinstance(item, Mapping):
        target = target_name(item, what)
        inputs = {name: value for name, value in item.items() if name != target}
        names = list(inputs)
        alone = len(names) == 1 and names[0] not in STAY_NAMED
        return inputs[names[0]] if alone else inputs, item[target] if target else None
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    raise InputError(f"{what}: {_described(item)}, not a pair (x, y) or a dict", ACCEPTED)


def target_name(names: Iterable[str], what: str) -> str | None:
    """The name of the target, or None for token data without one; InputError for other data."""
    names = list(map(str, names))
    found = [name for name in names if name.lower() in TARGETS]
    if len(found) == len(names) == 1:
        raise InputError(f"{what}: a target {found[0]} and no input", ACCEPTED)
    if len(found) == 1:
        return found[0]
    if not found and TOKENS in names:
        return None
    if found:
        raise InputError(f"{what}: several targets, {', '.join(found)}", "leave one of them")
    listed = ", ".join(names[:10]) or "nothing"
    raise InputError(f"{what}: no target, only {listed}", "call it y, target(s) or label(s)")


def own_labels(inputs: Mapping[str, Tensor]) -> Tensor:
    """The tokens as their own labels, -100 where the attention mask is 0."""
    tokens = inputs[TOKENS].long()
    mask = inputs.get("attention_mask")
    return tokens if mask is None else tokens.masked_fill(mask == 0, UNLABELLED)


def _described(item: Any) -> str:
    kind = type(item).__name__
    return f"a {kind} of {len(item)}" if isinstance(item, tuple | list) else f"a {kind}"
