"""How a network is measured."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch

from condcli.batch import WHOLE, Share
from condcli.errors import UsageError

MAX_DIM = 16_384  # such a moment takes 1 GiB in float32, 2 GiB in float64
CHOICES = {
    "conv": ("channels", "patches", "reduce"),
    "norm": ("batch", "running"),
    "per_example": ("auto", "all", "none"),
    "autocast": ("none", "bfloat16"),
    "fisher": ("empirical", "mc", "exact"),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `condcli probe` can be told of the measurement; UsageError for what does not exist."""

    conv: str  # the view of convolutions
    norm: str
    per_example: str
    dtype: torch.dtype
    device: torch.device
    seed: int
    layers: tuple[str, ...]  # globs; none: every layer
    exclude: tuple[str, ...]
    fisher: str = "empirical"
    mc_samples: int = 1  # labels drawn for each example, by Fisher type mc
    autocast: str = "none"  # of the network; the moments stay in dtype
    shard: Share = WHOLE  # the part of the probe set that is measured
    allow_nonfinite: bool = False  # keep layers with NaN or infinity, flagged
    max_dim: int = MAX_DIM  # the longest x or h whose moment is stored whole

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise UsageError(
                    f"{name.replace('_', '-')} {value!r} does not exist",
                    f"choose {', '.join(choices)}",
                )
        if self.mc_samples < 1:
            raise UsageError(f"{self.mc_samples} drawn labels make no matrix", "give 1 or more")
        if self.mc_samples != 1 and self.fisher != "mc":
            raise UsageError(
                f"the Fisher type {self.fisher} draws no labels",
                "leave out --mc-samples, or pass --fisher mc",
            )
        if self.max_dim < 1:
            raise UsageError(f"max-dim {self.max_dim} does not exist", "give 1 or more")
        if self.autocast != "none" and self.dtype != torch.float32:
            raise UsageError(
                f"--autocast {self.autocast} goes with float32 only", "leave out --dtype float64"
            )

    def wants(self, layer: str) -> bool:
        """Whether the layer of this name is to be measured."""
        return _matches(layer, self.layers or ("*",)) and not _matches(layer, self.exclude)


def _matches(name: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)
