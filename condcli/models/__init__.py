"""A checkpoint becomes an nn.Module."""

from condcli.models.zoo import ZOO

__all__ = ["ZOO"]
