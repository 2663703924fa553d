"""Guesses for layers of several weights: recurrent ones, and torch's own attention."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from condcli.models.guesses.layer import Call, Flow, Layer, call

if TYPE_CHECKING:
    from condcli.models.shapes import Shapes

GATES = {4: "LSTM", 3: "GRU", 1: "RNN"}  # rows of weight_ih for each hidden unit
USUAL_HEAD = 64  # features; the number of heads is not in the tensors


def recurrent(shapes: Shapes, flow: Flow) -> Layer | None:
    """torch's LSTM, GRU or RNN, or a cell of them."""
    is_cell = "weight_ih" in shapes
    end = "" if is_cell else "_l0"
    ih, hh = shapes.get(f"weight_ih{end}", ()), shapes.get(f"weight_hh{end}", ())
    if len(ih) != 2 or len(hh) != 2 or 0 in hh:
        return None
    projected = shapes.get("weight_hr_l0", ())
    hidden = projected[-1] if len(projected) == 2 else hh[1]
    name = GATES.get(ih[0] // hidden if hidden else 0)
    if name is None:
        return None
    sizes = _Sizes(shapes, gates=ih[0], d_in=ih[1], hidden=hidden, out=hh[1], is_cell=is_cell)
    if sizes.expected() != dict(shapes) or (projected and name != "LSTM"):
        return None
    return sizes.layer(name)


def attention(shapes: Shapes, flow: Flow) -> Layer | None:
    """torch's MultiheadAttention, its output projection included."""
    out = shapes.get("out_proj.weight", ())
    if len(out) != 2 or out[0] != out[1]:
        return None
    d = out[0]
    kdim = shapes.get("k_proj_weight", (d, d))[-1:]
    vdim = shapes.get("v_proj_weight", (d, d))[-1:]
    options: dict[str, int | str | Call] = {}
    expected: dict[str, tuple[int, ...]] = {"out_proj.weight": (d, d)}
    if "in_proj_weight" in shapes:
        expected["in_proj_weight"] = (3 * d, d)
    else:
        options |= {"kdim": kdim[0], "vdim": vdim[0]} if kdim and vdim else {}
        expected |= {"q_proj_weight": (d, d)}
        expected |= {"k_proj_weight": (d, *kdim), "v_proj_weight": (d, *vdim)}
    if "in_proj_bias" in shapes:
        expected |= {"in_proj_bias": (3 * d,), "out_proj.bias": (d,)}
    else:
        options["bias"] = "False"
    if "bias_k" in shapes:
        expected |= {"bias_k": (1, 1, d), "bias_v": (1, 1, d)}
        options["add_bias_kv"] = "True"
    if expected != dict(shapes):
        return None
    heads = max(d // USUAL_HEAD, 1) if d % USUAL_HEAD == 0 else 1
    built = call(
        "nn.MultiheadAttention",
        ("embed_dim", d),
        num_heads=heads,
        **options,
        batch_first="True",
    )
    return Layer(
        kind="attention",
        what=f"multi-head attention {d}",
        call=built,
        d_out=d,
        guess="how many heads, batch_first",
    )


class _Sizes:
    """The options of a recurrent layer that its tensors' names and shapes tell."""

    def __init__(
        self, shapes: Shapes, *, gates: int, d_in: int, hidden: int, out: int, is_cell: bool
    ) -> None:
        numbers = [int(match[1]) for name in shapes if (match := re.search(r"_l(\d{1,4})", name))]
        self.layers = max(numbers, default=0) + 1
        self.directions = 2 if any(name.endswith("_reverse") for name in shapes) else 1
        self.has_bias = any(name.startswith("bias") for name in shapes)
        self.gates, self.d_in, self.hidden, self.out = gates, d_in, hidden, out
        self.is_cell = is_cell

    def expected(self) -> dict[str, tuple[int, ...]]:
        """The tensors that such a layer has."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(self.layers):
            for reverse in ("", "_reverse")[: self.directions]:
                end = "" if self.is_cell else f"_l{layer}{reverse}"
                d_in = self.d_in if layer == 0 else self.out * self.directions
                shapes[f"weight_ih{end}"] = (self.gates, d_in)
                shapes[f"weight_hh{end}"] = (self.gates, self.out)
                if self.has_bias:
                    shapes |= {f"bias_ih{end}": (self.gates,), f"bias_hh{end}": (self.gates,)}
                if self.out != self.hidden:
                    shapes[f"weight_hr{end}"] = (self.out, self.hidden)
        return shapes

    def layer(self, name: str) -> Layer:
        """The guess."""
        options: dict[str, int | str | Call] = {}
        if self.layers > 1:
            options["num_layers"] = self.layers
        if not self.has_bias:
            options["bias"] = "False"
        if not self.is_cell:
            options["batch_first"] = "True"
        if self.directions == 2:
            options["bidirectional"] = "True"
        if self.out != self.hidden:
            options["proj_size"] = self.out
        words = [f"{self.layers} layers"] if self.layers > 1 else []
        words += ["bidirectional"] if self.directions == 2 else []
        kind = f"{name} cell" if self.is_cell else name
        return Layer(
            kind="recurrent",
            what=", ".join([f"{kind} {self.d_in}→{self.hidden}", *words]),
            call=call(
                f"nn.{name}{'Cell' if self.is_cell else ''}",
                ("input_size", self.d_in),
                ("hidden_size", self.hidden),
                **options,
            ),
            d_in=self.d_in,
            d_out=self.out * self.directions,
            guess="" if self.is_cell else "batch_first",
        )
