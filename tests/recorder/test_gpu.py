"""On CUDA, where hooks run in threads of their own."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import condcli

from .loops import assert_layers_agree, batches, network, record_once, step_file

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def test_cuda_and_cpu_agree(tmp_path: Path) -> None:
    model, data = network().double(), [(x.double(), y) for x, y in batches(2)]
    expected = record_once(deepcopy(model), tmp_path / "cpu", data)
    stats = record_once(model.cuda(), tmp_path / "cuda", [(x.cuda(), y.cuda()) for x, y in data])
    assert_layers_agree(stats, expected, tolerance=1e-10)
    for field in ("data_sha256", "model_sha256", "accuracy"):
        assert getattr(stats.provenance, field) == getattr(expected.provenance, field), field


def test_float16_with_a_grad_scaler(tmp_path: Path) -> None:
    model, (x, y) = network(), batches(1)[0]
    expected = record_once(deepcopy(model), tmp_path / "cpu", [(x, y)])
    model, scaler = model.cuda(), torch.amp.GradScaler("cuda")
    with condcli.Recorder(model, tmp_path / "cuda", every=1) as recorder, recorder.step():
        with torch.autocast("cuda", torch.float16):
            loss = F.cross_entropy(model(x.cuda()), y.cuda())
        scaler.scale(loss).backward()
    stats = step_file(tmp_path / "cuda", 0)
    assert stats.provenance.autocast == "float16"
    assert_layers_agree(stats, expected, tolerance=2e-2)


def test_a_training_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    found = []
    for folder in (None, tmp_path):
        torch.manual_seed(0)
        model = network().cuda()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        recorder = condcli.Recorder(model, folder or tmp_path / "none", every=2 if folder else 99)
        for x, y in batches(5):
            with recorder.step():
                F.cross_entropy(model(x.cuda()), y.cuda()).backward()
            optimizer.step()
            optimizer.zero_grad()
        recorder.close()
        found.append(model.state_dict())
    assert all(torch.equal(found[1][name], weight) for name, weight in found[0].items())
