"""The statistics file: one HDF5 file, written whole or not at all, verified on every read.

docs/stats-file.md documents the schema. Nothing here needs torch.
"""

from condcli.statsfile.derived import check_keepable, check_kept, keep_spectra, kept_spectra
from condcli.statsfile.outputs import check_output, check_room
from condcli.statsfile.reading import Records, check_links, is_hdf5, read
from condcli.statsfile.replacing import replacing
from condcli.statsfile.writing import size_of, write

__all__ = [
    "Records",
    "check_keepable",
    "check_kept",
    "check_links",
    "check_output",
    "check_room",
    "is_hdf5",
    "keep_spectra",
    "kept_spectra",
    "read",
    "replacing",
    "size_of",
    "write",
]
