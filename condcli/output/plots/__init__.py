"""Numbers become pictures: a function a kind, from statistics to a figure of matplotlib.

matplotlib, the extra `plot`, is imported inside the functions. No display is needed: pyplot and
its backends are not used.
"""

from __future__ import annotations

from collections.abc import Mapping

# Of statistics files, each a series; in brackets the figures of the paper that show the same.
FILE_KINDS: Mapping[str, str] = {
    "depth": "λ_max and κ_p of Σx, Σ∇h and F by layer",
    "spectra": "every layer's eigenvalues of Σx and Σ∇h",
    "matrices": "heat maps of Σx, Σ∇h and F, layer by layer",
    "domination": "σ_max of W and ∂L/∂W and their ratio by layer",
    "neurons": "dying and full neurons by layer",
    "activity": "histograms of how often each neuron is on",
}
# Of runs, over their steps.
RUN_KINDS: Mapping[str, str] = {
    "run-fisher": "λ_max and κ_p of F (figure 1)",
    "run-magnitude": "λ_max of Σx, Σ∇h and F (figure 3)",
    "run-conditioning": "κ_p of Σx, Σ∇h and F (figure 5)",
    "run-last-layer": "loss, and Σx, Σ∂W and W of the last layer (figure 7)",
    "run-neurons": "dying and full neurons (figure A13)",
    "run-domination": "σ_max of W and ∂L/∂W and their ratio",
}
KINDS: Mapping[str, str] = {**FILE_KINDS, **RUN_KINDS}
