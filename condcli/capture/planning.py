"""What the moments will take, from the shapes of a model's modules: before anything runs."""

from __future__ import annotations

from math import prod

from torch import nn
from torch.nn.modules.conv import _ConvNd

from condcli.capture.memory import moments_need, require_room
from condcli.capture.options import Options


def require_room_for_moments(model: nn.Module, options: Options, *, processes: int = 1) -> None:
    """Raise CannotFinishError, with numbers, where free memory cannot hold the moments.

    A layer of 65,536 inputs alone takes tens of GiB: that is told before data are read. Modules
    that will not run count, too; the rehearsal knows better, but needs the memory to run.
    """
    numbers = moment_numbers(model, options)
    if numbers:
        largest = max(numbers, key=numbers.__getitem__)
        need = moments_need(sum(numbers.values()), largest)
        require_room({"the moments": need}, options.device, processes=processes)


def moment_numbers(model: nn.Module, options: Options) -> dict[str, int]:
    """The entries of Σ_x and Σ_∇h of each wanted module that is a linear map, by its name."""
    found = {}
    for name, module in model.named_modules():
        sizes = _sizes(module, options.conv) if options.wants(name) else None
        if sizes is not None:
            groups, inputs, outputs = sizes
            table = isinstance(module, nn.Embedding)
            of_inputs = inputs if table else _entries(inputs, options)
            found[name] = groups * (of_inputs + _entries(outputs, options))
    return found


def _entries(size: int, options: Options) -> int:
    """Those of a moment; 0 for a wide one, whose size the rows decide, which a rehearsal tells."""
    return size**2 if size <= options.max_dim else 0


def _sizes(module: nn.Module, view: str) -> tuple[int, int, int] | None:
    """Groups, and the length of x and of h in each; None for what is no linear map."""
    if isinstance(module, nn.Linear):
        return 1, module.in_features, module.out_features
    if isinstance(module, nn.Embedding):
        return 1, module.num_embeddings, module.embedding_dim
    if isinstance(module, _ConvNd):
        patch = 1 if view == "channels" else prod(module.kernel_size)
        groups = module.groups
        return groups, patch * module.in_channels // groups, module.out_channels // groups
    return None
