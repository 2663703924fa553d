"""A Python file whose modules hold the tensors of a checkpoint."""

from condcli.models.scaffolding.scaffold import Scaffold, scaffold

__all__ = ["Scaffold", "scaffold"]
