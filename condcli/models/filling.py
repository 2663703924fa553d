"""Tensors become those of a module, in a time that grows with their number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from torch import Tensor, nn


def take_in(module: nn.Module, tensors: Mapping[str, Tensor], *, assign: bool) -> None:
    """As ``module.load_state_dict`` with these of its tensors.

    That one looks through all names once for every child: of ten thousand blocks in a row, half a
    minute. So each child is given its own, unless the module or its hooks have a say in it.
    """
    if not _leaves_it_to_its_children(module):
        module.load_state_dict(tensors, strict=False, assign=assign)
        return
    own: dict[str, Tensor] = {}
    of_children: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in tensors.items():
        path, dot, inner = name.partition(".")
        if dot:
            of_children[path][inner] = tensor
        else:
            own[name] = tensor
    if own:
        module.load_state_dict(own, strict=False, assign=assign)
    for name, child in module._modules.items():
        if child is not None:
            take_in(child, of_children[name], assign=assign)


def _leaves_it_to_its_children(module: nn.Module) -> bool:
    """Whether loading the module is no more than loading its own tensors, and then each child's."""
    kind = type(module)
    return (
        kind.load_state_dict is nn.Module.load_state_dict
        and kind._load_from_state_dict is nn.Module._load_from_state_dict
        and not module._load_state_dict_pre_hooks
        and not module._load_state_dict_post_hooks
    )
