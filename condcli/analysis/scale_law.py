"""Theorems 4.1 and 4.2 of the paper beside what was measured: one layer's weight times α.

Without normalisation (4.1, rectifiers, no biases), and with the gradient at the network's output
held fixed, the inputs of all later layers grow by α, and so do ∂L/∂h of all earlier layers and
∂L/∂W of all others; the layer's own ∂L/∂W stays. With batch normalisation after each linear map
(4.2) nothing moves but the layer's own ∂L/∂h and ∂L/∂W, which shrink by α.

A change by the factor r has the exponent log r / log α: 1 where the quantity goes with α, 0 where
the network normalises it away, −1 where it goes against.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

Exponents = tuple[float | None, float | None, float | None]  # of x, ∂L/∂h and ∂L/∂W
LAWS = ("4.1", "4.2")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleEffect:
    """What scaling one layer's weight does to a layer, as ratios of root mean squares.

    None where one of the two is zero or not finite.
    """

    scaled: str
    layer: str
    place: int  # of the layer behind the scaled one: negative before it, 0 for itself
    input_ratio: float | None
    grad_ratio: float | None  # of ∂L/∂h
    weight_grad_ratio: float | None  # of ∂L/∂W


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleLawRow:
    """One layer's weight is scaled: what moves, as medians of exponents, and the nearest law."""

    layer: str = field(metadata={"title": "scaled"})
    later_inputs: float | None = field(metadata={"title": "later x"})  # 4.1: 1; 4.2: 0
    earlier_grads: float | None = field(metadata={"title": "earlier ∇h"})  # 4.1: 1; 4.2: 0
    other_weight_grads: float | None = field(metadata={"title": "other ∂W"})  # 4.1: 1; 4.2: 0
    own_weight_grad: float | None = field(metadata={"title": "own ∂W"})  # 4.1: 0; 4.2: −1
    law: str = field(metadata={"title": "nearest"})
    # the largest distance of any layer's exponent from the law's; None when nothing is known
    deviation: float | None = field(metadata={"title": "off by"})
    loss: float = field(metadata={"title": "loss", "drop": 1})  # mean, of the scaled network


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleEffectRow:
    """What scaling one layer does to another, beside the nearest law's prediction."""

    layer: str = field(metadata={"title": "layer"})
    input_ratio: float | None = field(metadata={"title": "x"})
    input_predicted: float = field(metadata={"title": "law"})
    grad_ratio: float | None = field(metadata={"title": "∇h"})
    grad_predicted: float = field(metadata={"title": "law"})
    weight_grad_ratio: float | None = field(metadata={"title": "∂W"})
    weight_grad_predicted: float = field(metadata={"title": "law"})


def scale_law_row(effects: Sequence[ScaleEffect], alpha: float, loss: float) -> ScaleLawRow:
    """The row of one scaled layer, from its effects on all layers."""
    law = nearest_law(effects, alpha)
    exponents = [(effect.place, *_exponents(effect, alpha)) for effect in effects]
    return ScaleLawRow(
        layer=effects[0].scaled,
        later_inputs=_median([x for place, x, _, _ in exponents if place > 0]),
        earlier_grads=_median([grad for place, _, grad, _ in exponents if place < 0]),
        other_weight_grads=_median([w for place, _, _, w in exponents if place != 0]),
        own_weight_grad=_median([w for place, _, _, w in exponents if place == 0]),
        law=law,
        deviation=max(_distances(effects, alpha, law), default=None),
        loss=loss,
    )


def effect_rows(effects: Sequence[ScaleEffect], alpha: float) -> list[ScaleEffectRow]:
    """One row a layer, in forward order."""
    law = nearest_law(effects, alpha)
    rows = []
    for effect in effects:
        x, grad, weight_grad = (alpha**power for power in predicted(effect.place, law))
        rows.append(
            ScaleEffectRow(
                layer=effect.layer,
                input_ratio=effect.input_ratio,
                input_predicted=x,
                grad_ratio=effect.grad_ratio,
                grad_predicted=grad,
                weight_grad_ratio=effect.weight_grad_ratio,
                weight_grad_predicted=weight_grad,
            )
        )
    return rows


def predicted(place: int, law: str) -> tuple[int, int, int]:
    """A law's exponents of x, ∂L/∂h and ∂L/∂W, for a layer so many places behind the scaled one."""
    if law == "4.2":
        own = -1 if place == 0 else 0
        return 0, own, own
    return int(place > 0), int(place < 0), int(place != 0)


def nearest_law(effects: Sequence[ScaleEffect], alpha: float) -> str:
    """The law from which the measured exponents are less far, in the sum of their squares."""
    return min(LAWS, key=lambda law: sum(d**2 for d in _distances(effects, alpha, law)))


def _distances(effects: Sequence[ScaleEffect], alpha: float, law: str) -> list[float]:
    return [
        abs(measured - power)
        for effect in effects
        for measured, power in zip(
            _exponents(effect, alpha), predicted(effect.place, law), strict=True
        )
        if measured is not None
    ]


def _exponents(effect: ScaleEffect, alpha: float) -> Exponents:
    def of(ratio: float | None) -> float | None:
        return None if ratio is None else math.log(ratio) / math.log(alpha)

    return of(effect.input_ratio), of(effect.grad_ratio), of(effect.weight_grad_ratio)


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
