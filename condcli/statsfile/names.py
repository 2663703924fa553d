"""HDF5 group names for layer names, one to one.

HDF5 reads "/" as a path, stops at a NUL and refuses "" and "."; a layer may be called any of these.
So a name is percent-encoded (RFC 3986), as `urllib.parse.unquote` undoes it.
"""

from urllib.parse import quote, unquote

_NO_NAME = "%"  # the encoding of "", which percent-encoding itself never produces


def encode(name: str) -> str:
    """The HDF5 group name of a layer name."""
    if not name:
        return _NO_NAME
    quoted = quote(name, safe=":", errors="surrogatepass")
    return quoted.replace(".", "%2E") if set(quoted) == {"."} else quoted


def decode(group_name: str) -> str:
    """The layer name of an HDF5 group name; the inverse of `encode`."""
    return "" if group_name == _NO_NAME else unquote(group_name, errors="surrogatepass")
