"""The function of each kind of figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from condcli.output.plots import activity, by_layer, matrices, over_steps, spectra
from condcli.output.plots.sources import Needs, Options, Run, Sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAW_FILES: Mapping[str, Callable[[Sequence[Sample], Options], Figure]] = {
    "depth": by_layer.depth,
    "spectra": spectra.spectra,
    "matrices": matrices.matrices,
    "domination": by_layer.weights,
    "neurons": by_layer.neuron_shares,
    "activity": activity.activity,
}
DRAW_RUNS: Mapping[str, Callable[[Sequence[Run], Options], Figure]] = {
    "run-fisher": over_steps.fisher,
    "run-magnitude": over_steps.magnitude,
    "run-conditioning": over_steps.conditioning,
    "run-last-layer": over_steps.last_layer,
    "run-neurons": over_steps.neuron_shares,
    "run-domination": over_steps.weights,
}
RUN_NEEDS: Mapping[str, Needs] = {
    "run-fisher": Needs(kappa=True),
    "run-magnitude": Needs(),
    "run-conditioning": Needs(kappa=True),
    "run-last-layer": Needs(layers="last"),
    "run-neurons": Needs(layers="none"),
    "run-domination": Needs(),
}
