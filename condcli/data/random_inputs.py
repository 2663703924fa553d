"""`random:3x32x32`: standard normal inputs, for smoke runs without a data set."""

from __future__ import annotations

import numpy as np

from condcli.batch import Batch
from condcli.data.probe_set import Examples, IntArray
from condcli.data.request import Request
from condcli.errors import UsageError


def open_random(shape_text: str, request: Request) -> Examples:
    """Exactly so many examples of the given shape as are asked for, made when they are read.

    Each example has a random stream of its own, keyed by the seed and its number, so that
    it is the same in batches of any size and never all of them are in memory.
    """
    samples, seed = request.samples, request.seed
    if samples is None:
        raise UsageError("random inputs have no end", "say how many with --samples")
    shape = _parse_shape(shape_text)

    def fetch(indices: IntArray) -> Batch:
        import torch

        inputs = np.empty((len(indices), *shape), dtype=np.float32)
        labels = np.empty(len(indices))
        for row, index in enumerate(indices):
            key = np.array([seed, index], dtype=np.uint64)
            stream = np.random.Generator(np.random.Philox(key=key))
            labels[row] = stream.random()
            stream.standard_normal(dtype=np.float32, out=inputs[row])
        return torch.from_numpy(inputs), torch.from_numpy(labels)

    return Examples(total=samples, fetch=fetch, random_labels=True)


def _parse_shape(text: str) -> tuple[int, ...]:
    sizes = text.split("x")
    if not all(size.isascii() and size.isdigit() and int(size) > 0 for size in sizes):
        raise UsageError(
            f"'random:{text}' has no shape", "give sizes joined by x, such as random:3x32x32"
        )
    return tuple(map(int, sizes))
