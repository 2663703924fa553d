"""A checkpoint becomes an nn.Module."""

from condcli.models.architecture import parse_arch_args
from condcli.models.build import Model, build, load
from condcli.models.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from condcli.models.describe import CheckpointDescription, TensorRow, describe
from condcli.models.match import Match
from condcli.models.outline import ModuleRow
from condcli.models.scaffolding import Scaffold, scaffold
from condcli.models.zoo import ZOO

__all__ = [
    "ZOO",
    "Checkpoint",
    "CheckpointDescription",
    "Match",
    "Model",
    "ModuleRow",
    "Scaffold",
    "TensorRow",
    "build",
    "describe",
    "load",
    "parse_arch_args",
    "read_checkpoint",
    "scaffold",
    "write_checkpoint",
]
