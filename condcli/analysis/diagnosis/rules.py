"""All rules, one after the other, and what of their findings only follows from another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from condcli.analysis.decomposition import layer_spectra
from condcli.analysis.diagnosis.accuracy import chance_level, even_errors
from condcli.analysis.diagnosis.conditioning import ill_conditioned
from condcli.analysis.diagnosis.depth import depth_trends
from condcli.analysis.diagnosis.domination import dominated
from condcli.analysis.diagnosis.finding import SEVERITIES, Finding
from condcli.analysis.diagnosis.finite import not_finite
from condcli.analysis.diagnosis.gradients import no_gradient, no_input
from condcli.analysis.diagnosis.inputs import duplicated, unnormalised
from condcli.analysis.diagnosis.last_linear import last_layer
from condcli.analysis.diagnosis.network import Network, look_at
from condcli.analysis.diagnosis.neurons import dying, full, saturated
from condcli.analysis.diagnosis.rank import collapsed
from condcli.analysis.diagnosis.thresholds import DEFAULTS, Thresholds
from condcli.stats import LayerSpectra, ProbeStats

Rule = Callable[[Network, Thresholds], Iterator[Finding]]

# Causes before what they bring about: among findings of one severity, this order is kept.
RULES: tuple[Rule, ...] = (
    not_finite,
    no_gradient,
    no_input,
    unnormalised,
    duplicated,
    depth_trends,
    last_layer,
    dominated,
    collapsed,
    dying,
    saturated,
    full,
    even_errors,
    ill_conditioned,
    chance_level,
)
# The `rule` of every finding that there can be, in the same order.
RULE_NAMES = (
    "non-finite",
    "no-gradient",
    "zero-gradient",
    "zero-input",
    "unnormalised-input",
    "duplicated-features",
    "duplicated-units",
    "vanishing-gradient",
    "exploding-gradient",
    "vanishing-activation",
    "exploding-activation",
    "last-layer-input",
    "last-layer-stuck",
    "weight-domination",
    "rank-collapse",
    "rank-collapse-line",
    "dying-neurons",
    "leaking-neurons",
    "saturated-neurons",
    "full-neurons",
    "even-errors",
    "ill-conditioned-input",
    "ill-conditioned-gradient",
    "too-few-rows-input",
    "too-few-rows-gradient",
    "chance-accuracy",
)
_CONDITIONING = frozenset({"ill-conditioned-input", "ill-conditioned-gradient"})
_UNITS = frozenset({"dying-neurons", "leaking-neurons", "full-neurons", "saturated-neurons"})
_COLLAPSE = frozenset({"rank-collapse", "rank-collapse-line"})
_GUESSING = frozenset({"chance-accuracy"})
_SPOILT = _CONDITIONING | _UNITS | _COLLAPSE | _GUESSING | {"weight-domination"}
_DEPTH = _SPOILT | {"zero-gradient", "zero-input", "last-layer-input", "last-layer-stuck"}

# What follows from a finding, where there is one: it is told there, and not once more.
CONSEQUENCES: Mapping[str, frozenset[str]] = {
    "vanishing-gradient": _DEPTH,
    "exploding-gradient": _DEPTH,
    "vanishing-activation": _DEPTH,
    "exploding-activation": _DEPTH,
    "last-layer-input": _SPOILT,
    "last-layer-stuck": _SPOILT,
    "unnormalised-input": _SPOILT | {"last-layer-input", "last-layer-stuck"},
    "duplicated-features": _CONDITIONING,
    "duplicated-units": _CONDITIONING | _COLLAPSE,
    "weight-domination": _GUESSING,
    "non-finite": _GUESSING,
    "no-gradient": _GUESSING,
    "zero-gradient": _GUESSING,
    "saturated-neurons": _GUESSING | {"zero-gradient"},
    "dying-neurons": _CONDITIONING | {"zero-gradient", "zero-input"},
    "rank-collapse": _CONDITIONING | _UNITS,
    "rank-collapse-line": _CONDITIONING,
}


def diagnose(
    stats: ProbeStats,
    thresholds: Thresholds = DEFAULTS,
    *,
    workers: int = 1,
    spectra: Iterable[LayerSpectra] | None = None,
) -> list[Finding]:
    """The findings, the most severe first; none where nothing is wrong.

    What only follows from another finding is told in its evidence, and it is as severe as the
    worst of them. Up to so many `workers` find the eigenvalues of a layer each at a time, unless
    the `spectra` of all layers are given. Raises `InputError` naming a layer whose matrix is no
    second moment.
    """
    if spectra is None:
        spectra = layer_spectra(stats, workers=workers)
    network = look_at(stats, spectra)
    found = [finding for rule in RULES for finding in rule(network, thresholds)]
    return sorted(_causes(found), key=_place)


def _causes(found: Sequence[Finding]) -> Iterator[Finding]:
    """The findings that do not follow from another one, with what does in their evidence."""
    roots = [_root(finding, found) for finding in found]
    for finding in found:
        group = [each for each, root in zip(found, roots, strict=True) if root is finding]
        if group:
            following = [each.title for each in group if each is not finding]
            more = f"; with it: {'; '.join(following)}" if following else ""
            worst = min(group, key=_place).severity
            yield replace(finding, severity=worst, evidence=finding.evidence + more)


def _root(finding: Finding, found: Sequence[Finding]) -> Finding:
    """The finding that this one follows from in the end; often itself."""
    for other in found:
        if finding.rule in CONSEQUENCES.get(other.rule, ()):
            return _root(other, found)
    return finding


def _place(finding: Finding) -> int:
    return SEVERITIES.index(finding.severity)
