"""The numbers of a run that are followed over its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

from condcli.analysis.condition import ConditionNumber
from condcli.analysis.trajectory import LayerPoint, Point

Owner = Literal["network", "layer", "activation"]
Series = Mapping[str, Sequence[float | None]]  # of each owner's name, a value a step
NETWORK = "network"  # the one name of a number that is the whole network's


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A number of each layer, of each activation, or of the network."""

    title: str
    owner: Owner
    words: str  # in a sentence
    read: Callable[[Any], float | None]  # of a LayerPoint, a NeuronRow or a Point
    factor: float | None = None  # the least change that is a turning point; None: no ratio scale


def _layer(title: str, words: str, name: str, factor: float) -> Metric:
    return Metric(title=title, owner="layer", words=words, read=attrgetter(name), factor=factor)


def _kappa(title: str, name: str) -> Metric:
    read = attrgetter(f"{name}.least")
    words = (
        "condition number" + {"kappa": "", "kappa_input": " of Σx", "kappa_grad": " of Σ∇h"}[name]
    )
    return Metric(title=title, owner="layer", words=words, read=read, factor=10)


def _share(title: str, words: str, name: str) -> Metric:
    return Metric(title=title, owner="activation", words=words, read=attrgetter(name))


METRICS: Mapping[str, Metric] = {
    "loss": Metric(title="loss", owner="network", words="loss", read=attrgetter("loss"), factor=2),
    "accuracy": Metric(
        title="accuracy", owner="network", words="accuracy", read=attrgetter("accuracy")
    ),
    "lambda_max_input": _layer("λ(Σx)", "λ_max(Σx)", "lambda_max_input", 10),
    "lambda_max_grad": _layer("λ(Σ∇h)", "λ_max(Σ∇h)", "lambda_max_grad", 10),
    "lambda_max": _layer("λ(F)", "λ_max(F)", "lambda_max", 10),
    "kappa_input": _kappa("κ(Σx)", "kappa_input"),
    "kappa_grad": _kappa("κ(Σ∇h)", "kappa_grad"),
    "kappa": _kappa("κ(F)", "kappa"),
    "ratio": _layer("ratio", "ratio σ(∂W)/σ(W)", "ratio", 10),
    "sigma_max_weight": _layer("σ(W)", "σ_max(W)", "sigma_max_weight", 2),
    "sigma_max_grad": _layer("σ(∂W)", "σ_max(∂L/∂W)", "sigma_max_grad", 10),
    "weight_norm": _layer("‖W‖F", "weight norm", "weight_norm", 2),
    "weight_grad_norm": _layer("‖∂W‖F", "gradient norm", "weight_grad_norm", 10),
    "grad_moment_lambda_max": _layer("λ(Σ∂W)", "λ_max(Σ∂W)", "grad_moment_lambda_max", 10),
    "dying": _share("dying", "dying neurons", "dying_share"),
    "full": _share("full", "full neurons", "full_share"),
    "saturated": _share("saturated", "saturated outputs", "saturated_share"),
}


def series(points: Sequence[Point], name: str) -> Series:
    """The values of one metric over the steps; None where one is not known.

    An owner that a step does not have has no value there. Owners are in forward order, as in the
    step that has the most.
    """
    metric = METRICS[name]
    owners = [owners_of(point, metric.owner) for point in points]
    most = max(owners, key=len, default={})
    names = dict.fromkeys([*most, *(each for found in owners for each in found)])
    return {
        each: [metric.read(found[each]) if each in found else None for found in owners]
        for each in names
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One number at one step: a row of the tidy form."""

    step: int
    owner: Owner
    name: str  # of the layer or activation, or "network"
    metric: str
    value: float | None
    lower_bound: bool  # of a condition number: all that is known is that it is no less


def values(points: Sequence[Point]) -> Iterator[Value]:
    """All numbers of all steps, by step, then by metric, then in forward order."""
    for point in points:
        for metric, kind in METRICS.items():
            for name, owner in owners_of(point, kind.owner).items():
                yield Value(
                    step=point.step,
                    owner=kind.owner,
                    name=name,
                    metric=metric,
                    value=kind.read(owner),
                    lower_bound=kind.owner == "layer" and is_lower_bound(owner, metric),
                )


def is_lower_bound(layer: LayerPoint, metric: str) -> bool:
    """Whether a layer's number is a condition number that is known only from below."""
    number = getattr(layer, metric)
    return isinstance(number, ConditionNumber) and number.lower_bound is not None


def owners_of(point: Point, owner: Owner) -> Mapping[str, Any]:
    """What has numbers of a kind at one step: its layers, its activations, or itself."""
    if owner == "network":
        return {NETWORK: point}
    return point.layers if owner == "layer" else point.activations
