"""A checkpoint becomes an nn.Module."""

from condcli.models.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from condcli.models.zoo import ZOO

__all__ = ["ZOO", "Checkpoint", "read_checkpoint", "write_checkpoint"]
