"""The last linear layer of very deep networks (§5 of the paper, Figures 6 and 7).

What adds up over the depth is large and never negative when it reaches the last layer, so that
λ_max(Σx) is large and the mean's. ∂L/∂W is then large; W grows with the loss until the input
shrinks, and what is left is a large weight with a small gradient, and a loss of guessing.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from condcli.analysis.diagnosis.accuracy import is_worse_than_uniform, no_better_than_chance
from condcli.analysis.diagnosis.finding import Finding, brief
from condcli.analysis.diagnosis.network import Layer, Network
from condcli.analysis.diagnosis.thresholds import Thresholds

_SOURCE = "paper §5, Figures 6 and 7"
_REMEDY = "Put one batch normalisation before the last linear layer"


def last_layer(network: Network, thresholds: Thresholds) -> Iterator[Finding]:
    """A finding where the last layer's input is about to spoil it, or one where it has."""
    last, others, facts = network.last_linear, network.maps[:-1], network.provenance
    if last is None or last.features is None or last.ratio is None or not others:
        return
    seen = last.features
    uncentred = seen.mean_share_of_largest >= thresholds.mean_share_of_largest
    steep = last.ratio >= thresholds.last_layer_ratio and is_worse_than_uniform(facts, last.d_out)
    if seen.non_negative and uncentred and steep:
        yield _about_to(last, network)
    elif seen.non_negative and no_better_than_chance(facts):
        yield from _stuck(last, others, network, thresholds)


def _about_to(last: Layer, network: Network) -> Finding:
    assert last.features is not None
    assert last.ratio is not None
    share = last.features.mean_share_of_largest
    return Finding(
        rule="last-layer-input",
        severity="error",
        layers=(last.name,),
        title="the last linear layer's large, non-negative input is about to spoil it",
        evidence=f"λ_max(Σx) of {brief(last.name)} is {last.lambda_max_input:.3g}, "
        f"{100 * share:.0f} % of it the mean's, and no feature is negative; σ(∂W) is "
        f"{last.ratio:.2g} times σ(W), loss {network.provenance.loss:.3g}",
        numbers={
            "lambda_max_input": last.lambda_max_input or 0.0,
            "mean_share": share,
            "ratio": last.ratio,
        },
        mechanism="A large mean makes ∂L/∂W = E[δ xᵀ] large: the weight overshoots, then its input "
        "shrinks, and the weight dominates its gradient.",
        source=_SOURCE,
        remedy=f"{_REMEDY}; or lower the learning rate in the first steps.",
    )


def _stuck(
    last: Layer, others: tuple[Layer, ...], network: Network, thresholds: Thresholds
) -> Iterator[Finding]:
    inputs = [layer.lambda_max_input for layer in others if layer.lambda_max_input is not None]
    weights = [layer.sigma_max_weight for layer in others if layer.sigma_max_weight is not None]
    if not inputs or not weights or last.lambda_max_input is None or last.ratio is None:
        return
    usual, weight = median(inputs), (last.sigma_max_weight or 0.0) / (median(weights) or 1.0)
    shrunk = last.lambda_max_input * thresholds.last_layer_shrunk < usual
    grown = weight >= thresholds.last_layer_weight
    if not (shrunk and grown and last.ratio < thresholds.last_layer_stuck_ratio):
        return
    yield Finding(
        rule="last-layer-stuck",
        severity="error",
        layers=(last.name,),
        title="the last linear layer is stuck behind an input that has shrunk",
        evidence=f"λ_max(Σx) of {brief(last.name)} is {last.lambda_max_input:.2g}, the other "
        f"layers' median {usual:.2g}; σ(W) is {last.sigma_max_weight:.3g}, {weight:.2g} times "
        f"theirs; σ(∂W)/σ(W) is {last.ratio:.2g}, loss {network.provenance.loss:.3g}",
        numbers={
            "lambda_max_input": last.lambda_max_input,
            "median_lambda_max_input": usual,
            "ratio": last.ratio,
            "weight_over_median": weight,
        },
        mechanism="Its weight grew on a large, non-negative input until that shrank to nothing: "
        "now the weight dominates its gradient and the network guesses.",
        source=_SOURCE,
        remedy=f"{_REMEDY} and train again from the start: this state is not left.",
    )
