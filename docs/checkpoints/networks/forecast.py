"""Fracast-0: forecasts a time series; one separable convolution used at ten dilations.

The modules are the package's own; it joins them outside of any, so this does.
"""

import json
from pathlib import Path

import torch
from fracast._core.model import build_from_cfg
from torch import Tensor, nn


class Fracast(nn.Module):
    """A series (N, 2048) between 0 and 1 to nine quantiles of the next 48 values (N, 48, 9)."""

    def __init__(self) -> None:
        super().__init__()
        settings = json.loads(Path("fracast/weights/config.json").read_text())
        self.core, self.head = build_from_cfg(settings)

    def forward(self, series: Tensor) -> Tensor:
        known = torch.ones_like(series, dtype=torch.bool)
        hidden = self.core(series[:, None], known[:, None], torch.ones_like(series)[:, None])
        quantiles: Tensor = self.head.forward_horizon(
            hidden, last_obs=series[:, -1:], ctx=series, ctx_mask=known
        )
        return quantiles


def build() -> nn.Module:
    return Fracast()
