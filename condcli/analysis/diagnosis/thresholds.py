"""The bounds that the rules compare with; docs/diagnosis.md says where they come from."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """One bound a field; `meaning` in its metadata is the comment in the TOML file."""

    depth_decades_warning: float = field(
        default=6.0,
        metadata={"meaning": "decades that λ_max may move from the first layer to the last"},
    )
    depth_decades_error: float = field(
        default=10.0, metadata={"meaning": "the same, from where it is an error"}
    )


DEFAULTS = Thresholds()
