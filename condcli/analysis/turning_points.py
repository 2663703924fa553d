"""The turning points of a run: what changed, in which layer, at which step, and after what.

docs/dynamics.md says how each is defined.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite

from condcli.analysis.defaults import DOMINATION_THRESHOLD
from condcli.analysis.legs import Leg, Values, crossings, legs
from condcli.analysis.metrics import METRICS, Series, owners_of, series
from condcli.analysis.trajectory import Point

FOLLOWED = ("loss", "weight_norm", "lambda_max_input", "lambda_max_grad", "kappa")  # by default
_MANY = 0.1  # of the units
_LEAST = 2.0  # the smallest change, as a factor, that domination is put down to


@dataclass(frozen=True, slots=True, kw_only=True)
class TurningPoint:
    """One change of one number of a layer, an activation or the network."""

    step: int = field(metadata={"title": "step"})  # at which it is done
    since: int = field(metadata={"title": "since", "drop": 2})  # the step at which it begins
    name: str = field(metadata={"title": "name"})
    metric: str = field(metadata={"title": "metric", "shown_in": ("machine",)})
    # rises, falls, gets-unknown, gets-infinite; gets-dominated, begins-dominated, gets-free;
    # gets-many, gets-few
    event: str = field(metadata={"title": "event", "shown_in": ("machine",)})
    # the values that it goes between, and the larger over the smaller where it rises or falls
    before: float | None = field(metadata={"title": "before", "shown_in": ("machine",)})
    after: float | None = field(metadata={"title": "after", "shown_in": ("machine",)})
    fold: float | None = field(metadata={"title": "fold", "shown_in": ("machine",)})
    what: str = field(metadata={"title": "what"})


def turning_points(
    points: Sequence[Point],
    *,
    metrics: Sequence[str] | None = None,
    threshold: float = DOMINATION_THRESHOLD,
) -> list[TurningPoint]:
    """The turning points of these metrics, by step; of the usual ones where none is named.

    A layer is dominated below `threshold`, the ratio of σ_max(∂L/∂W) to σ_max(W).
    """
    found: list[TurningPoint] = []
    steps = [point.step for point in points]
    for name in metrics or (*FOLLOWED, "ratio", "dying", "full"):
        curves = series(points, name)
        there = owners_of(points[-1], METRICS[name].owner)
        found += _unknown({each: curves[each] for each in curves if each in there}, name, steps)
        if metrics or name in FOLLOWED:
            found += _legs(curves, name, steps)
        if name == "ratio":
            found += _dominated(points, curves, threshold)
        if METRICS[name].owner == "activation":
            found += _many(curves, name, steps)
    return sorted(found, key=lambda each: each.step)


def short(value: float) -> str:
    """Two significant digits: 0.012, 230, 1.2e4."""
    rounded = float(f"{value:.1e}")
    text = f"{rounded:g}" if abs(rounded) < 1e4 else f"{rounded:.2g}"
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def _legs(curves: Series, metric: str, steps: Sequence[int]) -> Iterator[TurningPoint]:
    factor = METRICS[metric].factor
    if factor is None:
        return
    for name, values in curves.items():
        for leg in legs(values, factor):
            verb = "rises" if leg.rises else "falls"
            yield TurningPoint(
                step=steps[leg.done],
                since=steps[leg.begun],
                name=name,
                metric=metric,
                event=verb,
                before=leg.before,
                after=leg.after,
                fold=leg.fold,
                what=f"{METRICS[metric].words} {verb} {short(leg.fold)}-fold, "
                f"{short(leg.before)} to {short(leg.after)}",
            )


def _unknown(curves: Series, metric: str, steps: Sequence[int]) -> Iterator[TurningPoint]:
    """Numbers that are finite at first and are not from some step to the end."""
    for name, values in curves.items():
        finite = [k for k, value in enumerate(values) if value is not None and isfinite(value)]
        if finite and finite[-1] + 1 < len(values):
            step, before = steps[finite[-1] + 1], values[finite[-1]]
            state = "unknown" if values[finite[-1] + 1] is None else "infinite"
            what = f"{METRICS[metric].words} is {state} from here on"
            yield _turn(metric, f"gets-{state}", name, step, before, None, what)


def _many(curves: Series, metric: str, steps: Sequence[int]) -> Iterator[TurningPoint]:
    """Where over a tenth of an activation's units get so, and where a twentieth is left."""
    words = METRICS[metric].words
    for name, values in curves.items():
        rest = [None if value is None else 1 - value for value in values]
        for turn in crossings(rest, low=1 - _MANY, high=1 - _MANY / 2):
            if turn.place:  # what is so from the start does not turn
                before, value = values[turn.place - 1], values[turn.place]
                verb, event = ("pass", "gets-many") if turn.below else ("are back from", "gets-few")
                what = f"{words} {verb} 10 % of the units: {100 * (value or 0):.0f} %"
                yield _turn(metric, event, name, steps[turn.place], before, value, what)


def _dominated(points: Sequence[Point], ratios: Series, threshold: float) -> Iterator[TurningPoint]:
    """Where layers enter weight domination, after what, and where they leave it."""
    norms, grads = series(points, "weight_norm"), series(points, "sigma_max_grad")
    steps = [point.step for point in points]
    for name, values in ratios.items():
        for turn in crossings(values, low=threshold, high=2 * threshold):
            step, value = steps[turn.place], values[turn.place]
            event, what = "gets-free", "leaves weight domination"
            if turn.below and not turn.place:
                event, what = "begins-dominated", "is in weight domination from the start"
            elif turn.below:
                causes = _causes(turn.place, values, norms[name], grads[name], steps)
                event = "gets-dominated"
                what = ", ".join(["enters weight domination", *causes])
            yield _turn("ratio", event, name, step, values[max(0, turn.place - 1)], value, what)


def _causes(
    place: int, ratio: Values, norm: Values, grad: Values, steps: Sequence[int]
) -> list[str]:
    """What moved while the ratio fell: the weight norm up, the gradient down, or both."""
    begun = max((leg.start for leg in legs(ratio, _LEAST) if leg.start < place), default=0)
    found = []
    for values, noun, up in ((norm, "weight norm", True), (grad, "gradient", False)):
        if values[place] == 0 and not up:
            found.append("with a gradient of zero")
            continue
        moved = [leg for leg in legs(values, _LEAST) if leg.start < place and leg.done > begun]
        if moved and moved[-1].rises == up:
            found.append(_cause(moved[-1], noun, place, steps))
    return found


def _cause(leg: Leg, noun: str, place: int, steps: Sequence[int]) -> str:
    if leg.done > place:
        return f"while its {noun} {'rises' if leg.rises else 'falls'}"
    moved = f"its {noun} {'rose' if leg.rises else 'fell'} {short(leg.fold)}-fold"
    after = steps[place] - steps[leg.done]
    return f"{after} steps after {moved}" if after else f"as {moved}"


def _turn(
    metric: str,
    event: str,
    name: str,
    step: int,
    before: float | None,
    after: float | None,
    what: str,
) -> TurningPoint:
    """One without a stretch: it begins and is done at the same step."""
    return TurningPoint(
        step=step,
        since=step,
        name=name,
        metric=metric,
        event=event,
        before=before,
        after=after,
        fold=None,
        what=what,
    )
