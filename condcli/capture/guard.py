"""What stands between a record and the training: no error of the one reaches the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from condcli.capture.undisturbed import product_precision


class Guard:
    """Runs what sees a training; the first error ends the record, and not the training."""

    def __init__(self, device: torch.device) -> None:
        self.trouble: Exception | None = None  # that error
        self.over = False  # nothing is to be seen any more
        self._kind = device.type

    def __call__(
        self, see: Callable[..., None], *args: Any, own_precision: bool = False, **kwargs: Any
    ) -> None:
        """See it, if need be without the precision that the training's own products have."""
        try:
            if own_precision:
                with self._own_precision():
                    see(*args, **kwargs)
            else:
                see(*args, **kwargs)
        except Exception as error:
            self.trouble = self.trouble or error
            self.over = True

    @contextmanager
    def _own_precision(self) -> Iterator[None]:
        with torch.no_grad(), torch.autocast(self._kind, enabled=False), product_precision("none"):
            yield
