"""How a network is measured."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch

from condcli.batch import WHOLE, Share
from condcli.errors import UsageError

MAX_DIM = 16_384  # such a moment takes 1 GiB in float32, 2 GiB in float64
CHOICES = {
    "conv": ("channels", "patches"),
    "norm": ("batch", "running"),
    "per_example": ("auto", "all", "none"),
    "autocast": ("none", "bfloat16"),
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
