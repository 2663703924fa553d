"""One number before and after."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One number in both files; None where it is not known or the layer is not there."""

    first: float | None
    then: float | None

    @property
    def ratio(self) -> float | None:
        """How many times the first the second is; None where that is not known."""
        if self.first is None or self.then is None or self.first == self.then:
            return None if self.first is None or self.then is None else 1.0
        return self.then / self.first if self.first else math.inf

    @property
    def decades(self) -> float:
        """|log10 of the ratio|; infinite from or to zero, 0 where it is not known."""
        if self.ratio is None:
            return 0.0
        return abs(math.log10(self.ratio)) if self.ratio else math.inf
