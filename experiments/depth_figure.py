"""Figures with a line a network: quantities over the layers, and losses over the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.by_depth import TITLES, Depths
from experiments.drawing import COLORS, DASHES, figure, save, shade
from experiments.setup import Setup

FLOOR = "A κ that stays at one height is a bound: the eigenvalue is under the noise floor."
MEAN_SHARE = "‖E x‖² / tr Σ_x"
PANELS = {
    **TITLES,
    "mean_share": MEAN_SHARE,
    "stuck_share": "dying + full neurons",
}


def draw_by_depth(
    name: str,
    quantities: Mapping[str, str],
    columns: Mapping[str, Mapping[str, Depths]],
    setup: Setup,
    *,
    along: str = "layer",
    ordered: bool = False,
) -> str:
    """A row of panels for each quantity with its label, a column for each title; the file's name.

    A share is drawn from 0 to 1, everything else in decades. Lines that are ``ordered``, as steps
    are, go from dark to light.
    """
    drawn, axes = figure(len(quantities), len(columns), height=1.45, sharex=True, sharey="row")
    for line, (quantity, label) in zip(axes, quantities.items(), strict=True):
        for panel, networks in zip(line, columns.values(), strict=True):
            for number, (network, depths) in enumerate(networks.items()):
                values = depths[quantity]
                places = range(1, len(values) + 1)
                style = {"color": shade(number, len(networks))} if ordered else look(number)
                panel.plot(places, values, **style, label=network)
            if quantity.endswith("share"):
                panel.set_ylim(-0.03, 1.03)
            else:
                panel.set_yscale("log")
        line[0].set_ylabel(label)
    for panel, title in zip(axes[0], columns, strict=True):
        panel.set_title(title, fontsize=8)
    for panel in axes[-1]:
        panel.set_xlabel(along)
        panel.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    _legend(drawn, axes[0][0])
    save(drawn, setup.figures / name)
    return name


def draw_losses(
    name: str,
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    setup: Setup,
    *,
    top: float = 3,
    log: bool = False,
) -> str:
    """A panel for each title, with the training loss of each network; the file's name.

    One legend where all panels are of the same networks, otherwise one in each. ``log`` takes a
    logarithmic scale.
    """
    drawn, axes = figure(1, len(panels), sharey=True)
    for panel, (title, networks) in zip(axes[0], panels.items(), strict=True):
        for number, (network, losses) in enumerate(networks.items()):
            panel.plot(losses, **look(number), label=network)
        panel.set_title(title, fontsize=8)
        panel.set_xlabel("step")
        if log:
            panel.set_yscale("log")
        panel.set_ylim(None if log else 0, top)
    axes[0][0].set_ylabel("training loss")
    if len({tuple(networks) for networks in panels.values()}) == 1:
        _legend(drawn, axes[0][0])
    else:
        for panel in axes[0]:
            panel.legend(fontsize=6)
    save(drawn, setup.figures / name)
    return name


def look(number: int) -> dict[str, Any]:
    """Colour and dashes of the line of this number."""
    return {"color": COLORS[number], "ls": DASHES[number % len(DASHES)]}


def _legend(drawn: Figure, panel: Any) -> None:
    """One for all panels, above them."""
    handles, labels = panel.get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=7)
