"""The network of a recipe."""

from __future__ import annotations

import torch
from torch import nn

from condcli.models import ZOO
from experiments.recipe import Recipe


def network(recipe: Recipe) -> nn.Module:
    """As it begins."""
    torch.manual_seed(recipe.seed)
    model = ZOO[recipe.arch](**recipe.arch_args) if recipe.arch in ZOO else with_head(recipe)
    with torch.no_grad():
        for name, factor in recipe.scaled.items():
            model.get_parameter(f"{name}.weight").mul_(factor)
    return model


def with_head(recipe: Recipe) -> nn.Module:
    """One of torchvision's residual networks, with something before its last linear layer."""
    import torchvision

    model: nn.Module = torchvision.models.get_model(recipe.arch, **recipe.arch_args)
    if recipe.head:
        last = model.get_submodule("fc")
        assert isinstance(last, nn.Linear)
        before = [
            nn.BatchNorm1d(last.in_features) if part == "bn" else nn.Dropout(float(part))
            for part in recipe.head.split(",")
        ]
        model.add_module("fc", nn.Sequential(*before, last))
    return model
