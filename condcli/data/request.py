"""What is asked of data: the options of the command line as one value."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, fields
from pathlib import Path

from condcli.errors import UsageError

LARGEST_SEED = 2**62  # generators take 64 bits, and example numbers are added to it

# Options that only some data have a use for, and which.
FOR = {
    "root": "data sets with a name",
    "download": "data sets with a name",
    "target": "tables and Hugging Face data sets",
    "tokenizer": "text",
    "length": "text",
    "transform": "images",
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """How data are to be read; `open_data` says what each option means."""

    root: Path = Path("data")
    split: str | None = None
    samples: int | None = 1024
    seed: int = 0
    normalize: str | None = None
    download: bool = False
    target: str | None = None
    tokenizer: str | None = None
    length: int = 128
    transform: str | None = None

    def __post_init__(self) -> None:
        """Raises UsageError for values that cannot be, or cannot be together."""
        require_sensible(samples=self.samples, seed=self.seed)
        if self.length < 1:
            raise UsageError(f"--length {self.length} is not positive", "give 1 or more")
        if self.transform is not None and self.normalize is not None:
            raise UsageError(
                "--transform and --normalize exclude each other",
                "let the transform normalise, or drop it",
            )

    def require_used(self, spec: str, uses: Set[str]) -> None:
        """Raises UsageError when an option was given that the data `spec` has no use for."""
        for option in fields(self):
            name, value = option.name, getattr(self, option.name)
            if name in FOR and name not in uses and value != option.default:
                given = f"--{name}" if value is True else f"--{name} {value}"
                raise UsageError(
                    f"{given} has no use for {spec}", f"drop it: it is for {FOR[name]}"
                )


def require_sensible(*, samples: int | None, seed: int) -> None:
    """Raises UsageError for a number of samples or a seed that cannot be."""
    if samples is not None and samples < 1:
        raise UsageError(f"--samples {samples} is not positive", "give 1 or more")
    if not 0 <= seed < LARGEST_SEED:
        raise UsageError(f"--seed {seed} is negative or too large", "give 0 … 2^62")
