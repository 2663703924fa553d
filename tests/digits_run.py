"""A real run: ``python -m tests.digits_run FOLDER`` trains a 10-layer MLP on the digits and writes
a statistics file into FOLDER at each of fifty steps.

Its learning rate is too high: neurons die, and layers stop learning.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn import functional

import condcli
from condcli.data import open_data
from condcli.models import ZOO

STEPS, EVERY = 245, 5
BATCH, RATE = 128, 0.4


def write_run(folder: Path, *, steps: int = STEPS, samples: int = 300) -> None:
    """Train, and probe at step 0, EVERY, 2 · EVERY … `steps`."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = ZOO["mlp"](inputs=64, depth=10, width=64, init="he")
    optimizer = torch.optim.SGD(model.parameters(), RATE)
    digits = open_data("digits", split="train", samples=None, normalize="0.3051/0.375")
    inputs, labels = next(digits.batches(digits.examples))
    generator = torch.Generator().manual_seed(0)
    for step in range(steps + 1):
        if step % EVERY == 0:
            found = condcli.probe(model, "digits", samples=samples, normalize="0.3051/0.375")
            about = replace(found.provenance, step=step, model_source="mlp10")
            condcli.write(replace(found, provenance=about), folder / f"step_{step:08}.h5")
        chosen = torch.randint(len(labels), (BATCH,), generator=generator)
        loss = functional.cross_entropy(model(inputs[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    torch.set_num_threads(1)
    write_run(Path(sys.argv[1]))
