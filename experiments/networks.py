"""The network of a recipe."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint_sequential

from condcli.models import ZOO
from experiments.recipe import Recipe

DEEP = 100  # blocks: what backward needs of a longer stage is computed anew, piece by piece
PIECE = 10  # blocks


class Recomputed(nn.Sequential):
    """Keeps only every tenth block's output for the backward pass, at the cost of a forward one.

    Its BNs average their running statistics over each batch twice.
    """

    def forward(self, x: Tensor) -> Tensor:
        """As of an nn.Sequential."""
        pieces = max(1, len(self) // PIECE)
        output: Tensor = checkpoint_sequential(
            list(self), pieces, x, use_reentrant=False, preserve_rng_state=False
        )
        return output


def network(recipe: Recipe) -> nn.Module:
    """As it begins."""
    torch.manual_seed(recipe.seed)
    model = ZOO[recipe.arch](**recipe.arch_args) if recipe.arch in ZOO else with_head(recipe)
    for name, stage in list(model.named_children()):
        if isinstance(stage, nn.Sequential) and len(stage) >= DEEP:
            model.add_module(name, Recomputed(*stage))
    with torch.no_grad():
        for name, factor in recipe.scaled.items():
            model.get_parameter(f"{name}.weight").mul_(factor)
    return model


def with_head(recipe: Recipe) -> nn.Module:
    """One of torchvision's residual networks, with something before its last linear layer.

    Where the argument `norm` is none, it has no BN but what stands there.
    """
    import torchvision

    args = {"norm": "bn", **recipe.arch_args}
    if args.pop("norm") == "none":
        args["norm_layer"] = nn.Identity
    model: nn.Module = torchvision.models.get_model(recipe.arch, **args)
    if recipe.head:
        last = model.get_submodule("fc")
        assert isinstance(last, nn.Linear)
        before = [
            nn.BatchNorm1d(last.in_features) if part == "bn" else nn.Dropout(float(part))
            for part in recipe.head.split(",")
        ]
        model.add_module("fc", nn.Sequential(*before, last))
    return model
