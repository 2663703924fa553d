"""How a network is called, and where in what it returns the values are that the loss takes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from torch import Tensor, nn

from condcli.batch import Tensors
from condcli.errors import InputError

# Where the dicts and named tuples of transformers, torchvision and others keep them.
LOGITS = (
    "logits", "out", "prediction_logits", "output", "outputs", "pred", "preds", "prediction",
    "predictions", "y_hat", "scores",
)  # fmt: skip
REMEDY = "name the loss of such outputs with --loss FILE.py:function"


def call(model: nn.Module, inputs: Tensors) -> object:
    """What the network returns for one batch: a tuple are its arguments, a dict its keywords.

    A network of one argument that none of the keys names gets the dict itself. Raises InputError
    when it takes other keywords.
    """
    if isinstance(inputs, tuple):
        return model(*inputs)
    if not isinstance(inputs, Mapping):
        return model(inputs)
    parameters = inspect.signature(model.forward).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    unknown = [] if takes_any else [name for name in inputs if name not in parameters]
    if len(unknown) == len(inputs) and len(parameters) == 1:
        return model(dict(inputs))
    if unknown:
        raise InputError(
            f"the model takes {', '.join(parameters)}, and the data have {', '.join(unknown)}",
            "rename or leave out what it does not take",
        )
    return model(**inputs)


def logits(output: object) -> Tensor:
    """The tensor to compare with the targets: the output itself, its first or its named part.

    Raises InputError, saying what there is, when none can be told.
    """
    named = output if isinstance(output, Mapping) else _fields(output)
    found: object = next((named[name] for name in LOGITS if named.get(name) is not None), output)
    if isinstance(found, Mapping) and len(found) == 1:
        found = next(iter(found.values()))
    if isinstance(found, tuple | list) and found and not named:
        found = found[0]
    if isinstance(found, Tensor):
        return found
    names = f" of {', '.join(map(str, named))}" if named else ""
    raise InputError(
        f"the model returns a {type(output).__name__}{names}, in which no logits can be told",
        REMEDY,
    )


def _fields(output: object) -> Mapping[str, object]:
    names = getattr(output, "_fields", ())  # of a named tuple
    return {name: getattr(output, name) for name in names}
