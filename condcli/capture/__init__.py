"""A module and batches become statistics: capture, second moments, the forward/backward pass."""

from condcli.capture.measure import Measurement, measure
from condcli.capture.options import Options
from condcli.capture.rehearsal import Rehearsal, rehearse

__all__ = ["Measurement", "Options", "Rehearsal", "measure", "rehearse"]
