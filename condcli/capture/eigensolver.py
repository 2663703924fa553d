"""Eigenvalues on torch's devices, for the analyses that take a solver."""

from __future__ import annotations

import torch

from condcli.stats import FloatArray


def eigenvalues_on(device: torch.device, matrices: FloatArray) -> FloatArray:
    """The eigenvalues (G, d) of symmetric float64 matrices (G, d, d), ascending; in float64."""
    values: FloatArray = torch.linalg.eigvalsh(torch.from_numpy(matrices).to(device)).cpu().numpy()
    return values
