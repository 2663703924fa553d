"""One statistics file as the page shows it: the analyses' tables, curves and findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from condcli.analysis.contents import skipped
from condcli.analysis.defaults import PERCENT, PERCENTAGES
from condcli.analysis.diagnosis import Finding, Thresholds, diagnose
from condcli.analysis.domination import DominationRow, domination
from condcli.analysis.neurons import NeuronRow, neurons
from condcli.analysis.scaling import reported
from condcli.analysis.spectrum import SpectrumRow, key, spectrum
from condcli.analysis.steps import Numbered
from condcli.analysis.trajectory import Point, point_from
from condcli.output.cells import plain, text
from condcli.output.headline import headline
from condcli.output.page.columns import values
from condcli.output.page.curves import activity, curves_of, rounded
from condcli.output.report import Report
from condcli.stats import ActivationStats, LayerSpectra, LayerStats, ProbeStats, Provenance

LONGEST = 200  # characters of a name that are shown


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Analysed:
    """What there is to show of one file, its matrices aside."""

    provenance: Provenance
    layers: Mapping[str, LayerStats]  # their moments left out
    activations: Mapping[str, ActivationStats]
    spectra: Sequence[LayerSpectra]
    reports: Mapping[str, Report]  # spectrum, domination, neurons: a row a layer, or an activation
    findings: Sequence[Finding]
    skipped: Mapping[str, str]  # what no layer stands for, and why


def analysed(stats: ProbeStats, *, thresholds: Thresholds, workers: int = 1) -> Analysed:
    """What the analyses find in one file; their options and errors."""
    spectra: list[LayerSpectra] = []
    rows = spectrum(stats, workers=workers, keep=spectra.extend)
    light = ProbeStats(
        provenance=stats.provenance,
        layers={name: _without_moments(layer) for name, layer in stats.layers.items()},
        activations=dict(stats.activations),
    )
    keys = [key(value) for value in PERCENTAGES]
    found: dict[str, tuple[type[Any], Sequence[Any]]] = {
        "spectrum": (SpectrumRow, rows),
        "domination": (DominationRow, domination(light)),
        "neurons": (NeuronRow, neurons(light)),
    }
    return Analysed(
        provenance=stats.provenance,
        layers=light.layers,
        activations=light.activations,
        spectra=spectra,
        reports={
            name: Report(command=name, row_type=kind, rows=rows, keys=keys)
            for name, (kind, rows) in found.items()
        },
        findings=diagnose(stats, thresholds, spectra=spectra),
        skipped=skipped(stats),
    )


def point_of(item: Numbered, found: Analysed) -> Point:
    """The same as a point of a run."""
    rows = (found.reports[name].rows for name in ("spectrum", "domination", "neurons"))
    return point_from(item, found.provenance, *rows, percent=PERCENT)


def step_data(found: Analysed, *, file: str, step: int | None, points: int) -> dict[str, Any]:
    """One step of the page; its curves have at most so many `points`, and are left out for 0."""
    provenance = found.provenance
    return {
        "step": step,
        "file": text(file),
        "title": _title(provenance),
        "headline": headline(provenance),
        "provenance": {name: text(str(value)) for name, value in _facts(provenance).items()},
        "loss": rounded(provenance.loss),
        "accuracy": rounded(provenance.accuracy),
        "findings": [_finding(item, found) for item in found.findings],
        "tables": {name: values(report) for name, report in found.reports.items()},
        "curves": _curves(found, points) if points else None,
        "activity": [activity(item) for item in found.activations.values()],
    }


def layer_facts(layer: LayerStats) -> dict[str, Any]:
    """What a layer is, whatever step."""
    return {
        "name": shown(layer.name),
        "kind": layer.kind,
        "d_in": layer.d_in,
        "d_out": layer.d_out,
        "groups": layer.groups,
        "kernel": list(layer.kernel_size),
        "rows": layer.rows,
        "positions": rounded(layer.positions),
        "calls": layer.calls,
        "parameters": layer.parameters,
    }


def activation_facts(activation: ActivationStats) -> dict[str, Any]:
    """What an activation is, whatever step."""
    return {
        "name": shown(activation.name),
        "kind": activation.function,
        "units": activation.units,
        "rows": activation.rows,
    }


def shown(name: str) -> str:
    """A name with what is unprintable escaped, its middle left out where it is long."""
    name = text(name)
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[:half]}…{name[-half:]}"


def _without_moments(layer: LayerStats) -> LayerStats:
    return replace(
        layer,
        input_moment=None,
        grad_moment=None,
        input_factor=None,
        grad_factor=None,
        weight_grad=None,
    )


def _title(provenance: Provenance) -> str:
    return shown(f"{Path(provenance.model_source).name} on {provenance.data_source}")


def _facts(provenance: Provenance) -> dict[str, Any]:
    return {name: plain(value) for name, value in asdict(provenance).items() if value is not None}


def _curves(found: Analysed, points: int) -> list[dict[str, Any]]:
    """Those of every layer."""
    conv = found.provenance.conv
    return [
        curves_of(found.layers[item.name], reported(item, conv), points) for item in found.spectra
    ]


def _finding(item: Finding, found: Analysed) -> dict[str, Any]:
    """A finding; what it names is a place in the layers or activations, or else a text."""
    places = {
        section: {name: place for place, name in enumerate(getattr(found, section))}
        for section in ("layers", "activations")
    }
    named = []
    for name in item.layers:
        section = next((section for section in places if name in places[section]), None)
        named.append([section, places[section][name]] if section else shown(name))
    return {
        "rule": item.rule,
        "severity": item.severity,
        "layers": named,
        "title": text(item.title),
        "evidence": text(item.evidence),
        "mechanism": text(item.mechanism),
        "source": text(item.source),
        "remedy": text(item.remedy),
    }
