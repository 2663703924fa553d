"""What theory lets expect of other normalisations, put to what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from math import pi

from experiments.by_depth import decades
from experiments.by_layer import ENDS, Found, deep, factor, hidden, late, off
from experiments.setup import Check

NAMES = {"none": "none", "bn": "BN", "ln": "LN", "rms": "RMS", "gn": "GN", "in": "IN"}
WITHIN = ("ln", "rms", "gn")  # an example, all or several channels at a time
Networks = Mapping[str, Found]  # by normalisation


def mlp_checks(networks: Networks) -> list[Check]:
    """Of the MLP."""
    first = {norm: found["first"] for norm, found in networks.items()}
    shares = {norm: deep(depths["mean_share"]) for norm, depths in first.items()}
    unbiased = {norm: off(networks[norm], "unbiased") for norm in networks if norm != "none"}
    growth = {norm: factor(depths["lambda_max_grad"]) for norm, depths in first.items()}
    return [
        *_everywhere("MLP", networks),
        Check(
            claim="MLP with biases of zero, initialisation: the same " + listed(unbiased),
            paper="the theorem holds: at most 0.05",
            ours=values(unbiased, ".2g"),
            holds=max(unbiased.values()) <= 0.05,
        ),
        Check(
            claim="MLP, initialisation: λ_max(Σ_∇h) of a layer over that of the next "
            + listed(growth),
            paper="BN: more than the others, at most near 1.47; LN, RMS, GN: 1 ± 0.1; none: below",
            ours=values(growth, ".2f"),
            holds=max(growth[norm] for norm in WITHIN) < growth["bn"] < 1.6
            and all(abs(growth[norm] - 1) <= 0.1 for norm in WITHIN)
            and growth["none"] < 0.9,
        ),
        Check(
            claim="MLP, initialisation: ‖E x‖² of tr Σ_x in the last quarter " + listed(shares),
            paper=f"BN: 1/π = {1 / pi:.2f} ± 0.1; LN, RMS, GN: above 0.8",
            ours=values(shares, ".2f"),
            holds=abs(shares["bn"] - 1 / pi) <= 0.1 and min(shares[n] for n in WITHIN) > 0.8,
        ),
        *(_kappa("MLP", networks, end, WITHIN) for end in ENDS),
        *(_stuck("MLP", networks, end, ("bn",), WITHIN) for end in ENDS),
        _loss("MLP", networks),
    ]


def cnn_checks(networks: Networks) -> list[Check]:
    """Of ResNet-20, where InstanceNorm is expected to be like BN."""
    return [
        *_everywhere("ResNet", networks),
        *(_kappa("ResNet", networks, end, WITHIN) for end in ENDS),
        *(_like_bn(networks, end) for end in ENDS),
        *(_stuck("ResNet", networks, end, ("bn", "in"), ()) for end in ENDS),
        _loss("ResNet", networks),
    ]


def _everywhere(title: str, networks: Networks) -> list[Check]:
    """Level inputs, and Theorem 4.2 at both ends of the training."""
    normalised = [norm for norm in networks if norm != "none"]
    spread = {norm: decades(networks[norm]["first"]["lambda_max_input"][1:]) for norm in normalised}
    checks = [
        Check(
            claim=f"{title}, initialisation: decades of λ_max(Σ_x) over the layers "
            + listed(spread),
            paper="level: at most 1",
            ours=values(spread, ".2f"),
            holds=max(spread.values()) <= 1,
        )
    ]
    for end, when in ENDS.items():
        distances = {norm: off(networks[norm], end) for norm in normalised}
        checks.append(
            Check(
                claim=f"{title}, {when}: largest distance of an exponent from Theorem 4.2's "
                + listed(distances),
                paper="the theorem holds: at most 0.05",
                ours=values(distances, ".2g"),
                holds=max(distances.values()) <= 0.05,
            )
        )
    return checks


def _kappa(title: str, networks: Networks, end: str, others: tuple[str, ...]) -> Check:
    found = {norm: hidden(networks[norm][end]["kappa_input"]) for norm in ("bn", *others)}
    return Check(
        claim=f"{title}, {ENDS[end]}: median κ_50%(Σ_x) of the hidden layers {listed(found)}",
        paper="BN: the least",
        ours=values(found, ".3g"),
        holds=found["bn"] < min(found[norm] for norm in others),
    )


def _like_bn(networks: Networks, end: str) -> Check:
    found = {norm: hidden(networks[norm][end]["kappa_input"]) for norm in ("bn", "in", *WITHIN)}
    return Check(
        claim=f"ResNet, {ENDS[end]}: median κ_50%(Σ_x) of the hidden layers {listed(found)}",
        paper="IN: nearer to BN than LN, RMS and GN",
        ours=values(found, ".3g"),
        holds=all(
            abs(found["in"] - found["bn"]) < abs(found[norm] - found["bn"]) for norm in WITHIN
        ),
    )


def _stuck(
    title: str, networks: Networks, end: str, none: tuple[str, ...], many: tuple[str, ...]
) -> Check:
    shares = {norm: deep(networks[norm][end]["stuck_share"]) for norm in (*none, *many)}
    expected = [f"{', '.join(NAMES[norm] for norm in none)}: below 2 %"]
    expected += [f"{', '.join(NAMES[norm] for norm in many)}: above 30 %"] if many else []
    return Check(
        claim=f"{title}, {ENDS[end]}: dying and full neurons, last quarter {listed(shares)}",
        paper="; ".join(expected),
        ours=values(shares, ".1%"),
        holds=all(shares[norm] < 0.02 for norm in none)
        and all(shares[norm] > 0.3 for norm in many),
    )


def _loss(title: str, networks: Networks) -> Check:
    losses = {norm: late(found) for norm, found in networks.items()}
    return Check(
        claim=f"{title}, end: mean loss of the last tenth of the steps {listed(losses)}",
        paper="BN: below LN, RMS, GN; none: above all",
        ours=values(losses, ".3g"),
        holds=losses["bn"] < min(losses[norm] for norm in WITHIN)
        and losses["none"] > max(losses[norm] for norm in losses if norm != "none"),
    )


def listed(numbers: Mapping[str, float]) -> str:
    """Whose numbers: (BN | LN)."""
    return f"({' | '.join(NAMES[norm] for norm in numbers)})"


def values(numbers: Mapping[str, float], form: str) -> str:
    """The numbers, in the same order."""
    return " | ".join(format(number, form) for number in numbers.values())


def summary(parts: Mapping[str, Networks]) -> str:
    """For the overview: the questions' answers, by network."""
    return "; ".join(
        f"{title}, end: median κ_50%(Σ_x) of the hidden layers "
        + ", ".join(
            f"{NAMES[norm]} {hidden(found['last']['kappa_input']):.3g}"
            for norm, found in parts[network].items()
        )
        for network, title in (("mlp", "20-layer MLP"), ("resnet", "ResNet-20"))
    )
