"""What the modules of a state_dict probably are, by the names and shapes of its tensors alone."""

from condcli.models.guesses.guess import guess_layers
from condcli.models.guesses.layer import Layer
from condcli.models.guesses.tree import Node, Spec, Specs, tree_of

__all__ = ["Layer", "Node", "Spec", "Specs", "guess_layers", "tree_of"]
