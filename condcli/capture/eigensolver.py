"""Eigenvalues on torch's devices, for the analyses that take a solver."""

from __future__ import annotations

import numpy as np
import torch

from condcli.stats import FloatArray


def eigenvalues_on(device: torch.device, matrices: FloatArray) -> FloatArray:
    """The eigenvalues (G, d) of symmetric float64 matrices (G, d, d), ascending; in float64.

    Raises numpy's LinAlgError where the device does not find them.
    """
    try:
        found = torch.linalg.eigvalsh(torch.from_numpy(matrices).to(device))
    except RuntimeError as error:  # torch's LinAlgError is one, and so is a want of memory
        raise np.linalg.LinAlgError(str(error)) from error
    values: FloatArray = found.cpu().numpy()
    return values
