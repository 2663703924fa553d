"""Randomness of other people's code: seeded, and kept apart from ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """torch's global generator, seeded inside (augmentation, shuffling), untouched outside."""
    import torch

    state = torch.random.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.random.set_rng_state(state)
