"""What the vertical axes are of: the field of a row that a panel shows, and its title."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from condcli.output.plots.lines import Value
from condcli.stats import Provenance

INPUT, GRAD, FISHER = r"$\Sigma_x$", r"$\Sigma_{\nabla h}$", "$F$"
_MATRICES = {"_input": INPUT, "_grad": GRAD, "": FISHER}
Quantities = Mapping[str, str]

MAGNITUDES: Quantities = {
    f"lambda_max{suffix}": rf"$\lambda_{{\max}}$({sign})" for suffix, sign in _MATRICES.items()
}
WEIGHTS: Quantities = {
    "sigma_max_weight": r"$\sigma_{\max}(W)$",
    "sigma_max_grad": r"$\sigma_{\max}(\partial L/\partial W)$",
    "ratio": r"$\sigma_{\max}(\partial L/\partial W)\,/\,\sigma_{\max}(W)$",
}
NEURONS: Quantities = {"dying_share": "dying neurons", "full_share": "full neurons"}
LAST_LAYER: Quantities = {
    "lambda_max_input": rf"$\lambda_{{\max}}$({INPUT})",
    "grad_moment_lambda_max": r"$\lambda_{\max}(\Sigma_{\partial W})$",
    "sigma_max_weight": r"$\Vert W \Vert_2$",
}


def conditions(percent: float) -> Quantities:
    """κ_p of the three matrices."""
    return {
        f"kappa{suffix}": rf"$\kappa_{{{percent:g}\%}}$({sign})"
        for suffix, sign in _MATRICES.items()
    }


def value(row: Any, field: str) -> Value:
    """The number in a row's field; of condition numbers for one percentage, that one.

    None where there is no row: a step of a run may lack the layer.
    """
    if row is None:
        return None
    found: Value | Mapping[str, Value] = getattr(row, field)
    return next(iter(found.values())) if isinstance(found, Mapping) else found


def loss_title(provenances: Iterable[Provenance]) -> str:
    """The loss by its name, with its unit where it has one."""
    names = {provenance.loss_name for provenance in provenances}
    if names <= {"cross-entropy", "next-token", "bce"}:
        return "loss, nats"
    return f"loss ({', '.join(sorted(names))})"
