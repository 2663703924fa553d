"""A name or a path becomes a probe set."""

from condcli.data.catalogue import known, open_data
from condcli.data.objects import as_probe_set, from_tensors
from condcli.data.probe_set import ProbeSet

__all__ = ["ProbeSet", "as_probe_set", "from_tensors", "known", "open_data"]
