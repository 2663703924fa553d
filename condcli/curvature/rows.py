"""What the layers see in one forward pass and in any number of backward passes after it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from condcli.capture.linear_maps import Call, Lookup
from condcli.capture.mode import Capture
from condcli.capture.padding import blank
from condcli.capture.weights import Use


@dataclass
class CallRows:
    """The rows of one call of a layer: of its input, and of δ from the latest backward pass."""

    call: Call
    inputs: Tensor  # (G, rows, d_in/G), patches of a convolution
    count: int  # rows that are real
    grads: Tensor | None = None  # (G, rows, d_out/G)


@dataclass
class LayerRows:
    """All calls of one layer in one forward pass."""

    name: str
    use: Use
    calls: list[CallRows] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """linear, conv2d, …."""
        return self.calls[0].call.kind

    def rows(self) -> list[tuple[Tensor, Tensor]]:
        """Input rows and δ of each call that a gradient reached."""
        return [(call.inputs, call.grads) for call in self.calls if call.grads is not None]


class RowCapture(Capture):
    """Keeps the rows of every wanted layer; each backward pass replaces the δ of the one before."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.rows: dict[str, LayerRows] = {}

    def forget_grads(self) -> None:
        """Before a backward pass: what it does not reach has no δ."""
        for layer in self.rows.values():
            for call in layer.calls:
                call.grads = None

    def _see_use(self, name: str, call: Call, use: Use, out: Tensor) -> None:
        real = self._real_rows(name, call, out)
        shape, seen = out.shape, _rows_of(call, real)
        self.rows.setdefault(name, LayerRows(name, use)).calls.append(seen)

        def see_grad(grad: Tensor) -> None:
            delta = blank(grad.detach().reshape(shape)[..., use.outputs], real, call.map.unit_axis)
            seen.grads = call.map.output_rows(delta)

        if out.requires_grad:
            # As in Capture: an in-place function after a view takes the view's hooks away.
            target = out._base if out._is_view() and out._base is not None else out
            target.register_hook(see_grad)


def _rows_of(call: Call, real: Tensor | None) -> CallRows:
    x = call.x.detach()
    if isinstance(call.map, Lookup):
        rows = F.one_hot(x.flatten().long(), len(call.weight)).to(call.weight.dtype)[None]
        rows = rows if real is None else rows * real.reshape(1, -1, 1)
    else:
        # A block is good until the next one; and what runs next may change x in place.
        blocks = [block.clone() for block in call.map.input_rows(x, "patches", real)]
        rows = torch.cat(blocks, dim=1)
    return CallRows(call, rows, rows.shape[1] if real is None else int(real.sum()))
