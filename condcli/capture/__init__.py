"""A module and batches become statistics: capture, second moments, the forward/backward pass."""

from condcli.capture.measure import Measurement, measure

__all__ = ["Measurement", "measure"]
