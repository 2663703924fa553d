"""The digest of the data: of every example and its place, however they are split up."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from condcli.capture.totals import Totals

INPUTS = torch.arange(12, dtype=torch.float32).reshape(4, 3)
TARGETS = torch.tensor([3, 1, 0, 2])


def digest(*ranges: tuple[int, int]) -> int:
    totals = Totals()
    for start, stop in ranges:
        totals.see_data(INPUTS[start:stop], TARGETS[start:stop], start)
    return int(totals.data_sha256(), 16)


def test_the_digest_is_what_the_document_says() -> None:
    parts = [
        hashlib.sha256(
            np.int64(n).tobytes() + INPUTS[n].numpy().tobytes() + TARGETS[n].numpy().tobytes()
        )
        for n in range(4)
    ]
    assert digest((0, 4)) == sum(int(part.hexdigest(), 16) for part in parts) % 2**256


def test_no_split_into_batches_or_parts_changes_it() -> None:
    assert digest((0, 4)) == digest((0, 1), (1, 4)) == digest((2, 4), (0, 2))
    assert digest((0, 4)) == (digest((0, 1), (3, 4)) + digest((1, 3))) % 2**256


def test_examples_in_other_places_have_another() -> None:
    totals = Totals()
    totals.see_data(INPUTS.flip(0), TARGETS.flip(0), 0)
    assert int(totals.data_sha256(), 16) != digest((0, 4))
