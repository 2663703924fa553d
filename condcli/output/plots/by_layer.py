"""Numbers of statistics files, layer by layer; a curve a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from condcli.analysis.domination import domination
from condcli.analysis.neurons import neurons
from condcli.analysis.spectrum import spectrum
from condcli.errors import naming
from condcli.output.plots.curves import Along, Panel, curve_figure
from condcli.output.plots.key import Key
from condcli.output.plots.lines import Curve
from condcli.output.plots.quantities import (
    MAGNITUDES,
    NEURONS,
    WEIGHTS,
    Quantities,
    conditions,
    value,
)
from condcli.output.plots.sources import Options, Sample, chosen
from condcli.output.plots.style import looks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rows = Mapping[str, Any]  # of one file, by the name of the layer or activation


def depth(samples: Sequence[Sample], options: Options) -> Figure:
    """λ_max above κ_p, of Σ_x, Σ_∇h and F."""
    return _figure(
        samples,
        [_spectra(sample, options) for sample in samples],
        [MAGNITUDES, conditions(options.percent)],
    )


def weights(samples: Sequence[Sample], options: Options) -> Figure:
    """σ_max of W and of ∂L/∂W, and their ratio with the threshold of domination."""
    rows = [_weights(sample, options) for sample in samples]
    return _figure(samples, rows, [WEIGHTS], threshold=options.threshold)


def neuron_shares(samples: Sequence[Sample], options: Options) -> Figure:
    """The shares of dying and of full neurons."""
    rows = [_neurons(sample, options) for sample in samples]
    return _figure(samples, rows, [NEURONS], what="activation")


def _spectra(sample: Sample, options: Options) -> Rows:
    chosen(sample.stats.layers, options, what="layer", where=sample.path)
    with naming(sample.path):
        found = spectrum(
            sample.stats, percent=[options.percent], layers=options.layers, workers=options.workers
        )
    return {row.layer: row for row in found}


def _weights(sample: Sample, options: Options) -> Rows:
    names = chosen(sample.stats.layers, options, what="layer", where=sample.path)
    with naming(sample.path):
        found = {row.layer: row for row in domination(sample.stats, threshold=options.threshold)}
    return {name: found[name] for name in names}


def _neurons(sample: Sample, options: Options) -> Rows:
    names = chosen(sample.stats.activations, options, what="activation", where=sample.path)
    found = {row.activation: row for row in neurons(sample.stats)}
    return {name: found[name] for name in names}


def _figure(
    samples: Sequence[Sample],
    rows: Sequence[Rows],
    grid: Sequence[Quantities],
    *,
    what: str = "layer",
    threshold: float | None = None,
) -> Figure:
    """A panel a quantity, a curve a file."""
    key = Key(
        title="file, in the order given",
        names=[sample.name for sample in samples],
        looks=looks(len(samples)),
    )

    def panel(field: str, title: str) -> Panel:
        return Panel(
            title=title,
            scale="share" if field in NEURONS else "log",
            threshold=threshold if field == "ratio" else None,
            curves=[
                Curve(
                    look=look,
                    places=range(1, len(of_file) + 1),
                    values=[value(row, field) for row in of_file.values()],
                )
                for look, of_file in zip(key.looks, rows, strict=True)
            ],
        )

    names = [list(of_file) for of_file in rows]
    same = all(each == names[0] for each in names)
    along = Along(title=f"{what}, in forward order", names=names[0] if same else ())
    panels = [[panel(field, title) for field, title in fields.items()] for fields in grid]
    return curve_figure(panels, along, key)
