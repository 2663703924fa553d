"""Draws docs/depth.png: λ_max by depth in three sample checkpoints (needs the extra `plot`)."""

from __future__ import annotations

from pathlib import Path

from matplotlib import pyplot as plt

import condcli

HERE = Path(__file__).parent
SAMPLES = {
    "mlp20_default": ("plain, default init", "o", "#d55e00"),
    "mlp20_he": ("plain, He init", "s", "#0072b2"),
    "mlp20_bn": ("batch normalisation", "^", "#009e73"),
}


def main() -> None:
    """Probe the three 20-layer MLPs and draw λ_max of Σ_x, Σ_∇h and F against depth."""
    figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
    for name, (label, marker, color) in SAMPLES.items():
        stats = condcli.probe(HERE.parent / "sample_checkpoints" / f"{name}.pt", "digits")
        rows = condcli.spectrum(stats, percent=[50])
        depth = range(1, len(rows) + 1)
        for axis, field in zip(
            axes, ("lambda_max_input", "lambda_max_grad", "lambda_max"), strict=True
        ):
            values = [getattr(row, field) for row in rows]
            axis.semilogy(depth, values, marker=marker, markersize=4, color=color, label=label)
    titles = (r"$\lambda_{max}(\Sigma_x)$", r"$\lambda_{max}(\Sigma_{\nabla h})$")
    for axis, title in zip(axes, (*titles, r"$\lambda_{max}(F)$"), strict=True):
        axis.set(title=title, xlabel="layer", xticks=[1, 5, 10, 15, 20])
        axis.grid(alpha=0.3)
    axes[1].legend(fontsize="small", loc="lower right")
    figure.savefig(HERE / "depth.png", dpi=150)


if __name__ == "__main__":
    main()
