"""What a capture comes to: finished layers, and every parameter that is in none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from torch import nn

from condcli.batch import WHOLE
from condcli.capture.finite import require_finite
from condcli.capture.layer import LayerCapture
from condcli.capture.memory import KEPT, give_back_freed
from condcli.capture.mode import Capture
from condcli.capture.weights import Block, Piece, WeightIndex, whole
from condcli.stats import DID_NOT_RUN, LayerStats, SkippedParameter

# Giving back looks through all memory that is taken: after each of ten thousand small layers, that
# would take as long as all else.
WORTH_IT = 2**26  # bytes


def finished(
    capture: Capture,
    *,
    examples: int,
    terms: int,
    give_back: Callable[[int], None] = give_back_freed,
) -> tuple[dict[str, LayerStats], dict[str, SkippedParameter]]:
    """The complete layers, and what was skipped; each number of the model's is in one of them.

    ``give_back`` is called whenever the sums of ``WORTH_IT`` bytes of layers are free, and at the
    end, with how many free bytes may stay. Raises InputError naming the layer where a number that
    is not finite came up first, unless such are allowed.
    """
    missing = {
        name: why for name, layer in capture.layers.items() if (why := _missing(capture, layer))
    }
    complete = [layer for name, layer in capture.layers.items() if name not in missing]
    require_finite(complete, capture.options)
    account = Account(capture.weights)
    layers, waiting = {}, 0
    complete.reverse()
    while complete:  # each goes with its sums, which take as much memory as what comes of them
        layer = capture.layers.pop(complete.pop().name)
        layers[layer.name] = layer.stats(
            examples=examples,
            terms=terms,
            parameters=account.claim(layer.pieces),
            other_use=_other_use(capture, layer),
            mergeable=capture.options.shard != WHOLE,
        )
        waiting += _bytes(layers[layer.name])
        del layer
        if waiting >= WORTH_IT:
            give_back(0)
            waiting = 0
    give_back(KEPT)
    reasons = {name: why for name, (*_, why) in capture.left_out.items()} | missing
    return layers, _skipped(capture, account, reasons)


def _bytes(layer: LayerStats) -> int:
    """What the moments of a layer take."""
    return sum(
        moment.nbytes for moment in (layer.input_moment, layer.grad_moment) if moment is not None
    )


class Account:
    """Which of the model's numbers are spoken for."""

    def __init__(self, weights: WeightIndex) -> None:
        self._parameters = weights.parameters
        self._free = {
            key: np.ones(whole(parameter).stop, dtype=bool)
            for key, parameter in weights.parameters.items()
        }

    def claim(self, pieces: Iterable[Piece]) -> int:
        """Take pieces for one layer; how many of their numbers no other layer had."""
        numbers = 0
        for piece in pieces:
            numbers += self.free(piece)
            self._free[piece.parameter][piece.start : piece.stop] = False
        return numbers

    def free(self, piece: Piece) -> int:
        """How many numbers of a piece no layer has."""
        free = self._free[piece.parameter]
        rows = int(np.count_nonzero(free[piece.start : piece.stop]))
        return rows * self._parameters[piece.parameter].numel() // max(1, len(free))


def _missing(capture: Capture, layer: LayerCapture) -> str:
    if layer.name in capture.left_out:  # in some batches
        return capture.left_out[layer.name][2]
    if why := layer.missing():
        return why
    if capture.computed.differ(layer.use.block):
        return "its weight is computed anew in each call, and not always with the same values"
    return ""


def _other_use(capture: Capture, layer: LayerCapture) -> str:
    users = capture.users[layer.use.block.key]
    return next((user for user in users if user != layer.name), "")


def _skipped(
    capture: Capture, account: Account, reasons: Mapping[str, str]
) -> dict[str, SkippedParameter]:
    """Everything that no layer has: layers without statistics, other matrices, and vectors."""
    found: dict[str, SkippedParameter] = {}
    for name, reason in reasons.items():
        known = name in capture.left_out
        block, pieces = capture.left_out[name][:2] if known else capture.layers[name].stake
        found[name] = _of_block(name, block, account.claim(pieces), reason)
    for key in capture.weights.parameters:
        for block in capture.weights.blocks_of(key):
            free = sum(map(account.free, block.pieces))
            if free:
                reason = _reason(capture, block, whole=free == block.numbers)
                numbers = account.claim(block.pieces + _biases(block.module))
                name = capture.weights.owner(key)[0] if block.name in found else block.name
                found[name] = _of_block(name, block, numbers, reason)
    for key, parameter in capture.weights.parameters.items():
        if numbers := account.claim([whole(parameter)]):
            name, module = capture.weights.owner(key)
            found[name] = SkippedParameter(
                name=name,
                kind=type(module).__name__,
                shape=tuple(parameter.shape),
                parameters=numbers,
                reason=f"a {'vector' if parameter.dim() else 'single number'}, not a linear map",
            )
    return found


def _of_block(name: str, block: Block, parameters: int, reason: str) -> SkippedParameter:
    return SkippedParameter(
        name=name,
        kind=type(block.module).__name__,
        shape=(block.stop - block.start, *block.parameter.shape[1:]),
        parameters=parameters,
        reason=reason,
    )


def _biases(module: nn.Module) -> tuple[Piece, ...]:
    """The biases of a module whose matrix is skipped: they count with it."""
    return tuple(
        whole(parameter)
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.dim() == 1 and "bias" in name
    )


def _reason(capture: Capture, block: Block, *, whole: bool) -> str:
    if not whole:
        return "the rest of it did not run"
    user = next(iter(capture.users.get(block.key, {})), None)
    if user is None:
        return DID_NOT_RUN
    return f"used by {user}, which is not captured as a linear map"
