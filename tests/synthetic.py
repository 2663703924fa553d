"""Statistics with known answers, made without a network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from condcli.stats import ActivationStats, LayerStats, ProbeStats, Provenance, SkippedParameter


def provenance(**changes: Any) -> Provenance:
    values: dict[str, Any] = {
        "condcli_version": "0.1.0",
        "torch_version": "2.10.0",
        "created": "2025-01-02T03:04:05+00:00",
        "command": "condcli probe net.pt --data digits",
        "model_source": "net.pt",
        "model_sha256": "ab" * 32,
        "arch": "mlp",
        "parameters": 12345,
        "data_source": "digits",
        "data_sha256": "cd" * 32,
        "normalize": "none",
        "examples": 100,
        "loss_terms": 100,
        "loss": 0.25,
        "loss_name": "cross-entropy",
        "fisher": "empirical",
        "conv": "channels",
        "norm": "batch",
        "dtype": "float64",
        "autocast": "none",
        "device": "cpu",
        "seed": 0,
        "batch_size": 50,
        "pass_seconds": 0.5,
        "peak_memory_bytes": 1 << 20,
        "accuracy": 0.93,
        "chance": 0.1,
    }
    return Provenance(**values | changes)


def diagonal(*eigenvalues: float) -> np.ndarray:
    """A symmetric matrix with these eigenvalues, in a fixed random basis."""
    size = len(eigenvalues)
    basis, _ = np.linalg.qr(np.random.default_rng(size).standard_normal((size, size)))
    matrix = (basis * np.array(eigenvalues)) @ basis.T
    return (matrix + matrix.T) / 2


def layer(
    name: str = "fc",
    input_moment: np.ndarray | None = None,
    grad_moment: np.ndarray | None = None,
    **changes: Any,
) -> LayerStats:
    """A layer with these moments, (d, d) or (G, d/G, d/G); 1000 rows unless told."""
    input_moment = diagonal(4.0, 2.0, 1.0) if input_moment is None else input_moment
    grad_moment = diagonal(0.5, 0.1) if grad_moment is None else grad_moment
    groups = input_moment.shape[0] if input_moment.ndim == 3 else 1
    d_in, d_out = groups * input_moment.shape[-1], groups * grad_moment.shape[-1]
    values: dict[str, Any] = {
        "name": name,
        "kind": "linear",
        "order": 0,
        "d_in": d_in,
        "d_out": d_out,
        "groups": groups,
        "kernel_size": (),
        "rows": 1000,
        "input_rows": 1000,
        "calls": 1,
        "positions": 1.0,
        "bias": True,
        "weight_shape": (d_out, d_in // groups),
        "parameters": d_out * d_in // groups + d_out,
        "input_moment": input_moment,
        "input_mean": np.linspace(-1, 1, d_in),
        "grad_moment": grad_moment,
        "grad_mean": np.linspace(0, 1e-3, d_out),
        "weight_singular_values": np.array([2.0, 1.0]),
        "weight_grad_singular_values": np.array([0.02, 0.01]),
        "weight_norm": 5**0.5,
        "weight_grad_norm": 0.0005**0.5,
        "weight_grad_moment_lambda_max": 0.125,
    }
    return LayerStats(**values | changes)


def wide(name: str = "wide", *, error: float = 0.0, **changes: Any) -> LayerStats:
    """A layer whose Σ_x is known by a factor of 4 rows of 6; exact, or within an error."""
    factor = np.random.default_rng(1).standard_normal((4, 6))
    moment = factor.T @ factor
    values: dict[str, Any] = {
        "input_moment": None,
        "input_factor": factor,
        "input_error": error,
        "input_trace": float(np.trace(moment)) + error,
        "input_mean": np.zeros(6),
    }
    return replace(layer(name, moment), **values | changes)


def activation(name: str = "act", **changes: Any) -> ActivationStats:
    values: dict[str, Any] = {
        "name": name,
        "function": "relu",
        "order": 0,
        "units": 4,
        "rows": 100,
        "active_count": np.array([0, 100, 40, 0]),
    }
    return ActivationStats(**values | changes)


def stats(
    *layers: LayerStats,
    activations: tuple[ActivationStats, ...] = (),
    skipped: tuple[SkippedParameter, ...] = (),
    **changes: Any,
) -> ProbeStats:
    return ProbeStats(
        provenance=provenance(**changes),
        layers={item.name: item for item in layers},
        activations={item.name: item for item in activations},
        skipped={item.name: item for item in skipped},
    )
