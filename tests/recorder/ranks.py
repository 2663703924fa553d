"""What each of two processes runs: they train together, each on its own half of a batch."""

from __future__ import annotations

from pathlib import Path

import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

import condcli
from tests.capture.cases import labelled

from .loops import mlp


def train(rank: int, folder: str) -> None:
    meeting = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    model = DistributedDataParallel(mlp().double())
    x, y = labelled(6, sizes=[4, 4])()[rank]
    with condcli.Recorder(model, Path(folder) / "run") as recorder, recorder.step():
        F.cross_entropy(model(x.double()), y).backward()
    dist.destroy_process_group()
