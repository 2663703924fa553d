"""What `condcli inspect` tells of a checkpoint."""

import hashlib

import pytest
import torch
from torch import nn

from condcli.errors import UnsafeError
from condcli.models import ZOO, describe, write_checkpoint


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.pt"


def test_a_self_describing_checkpoint_tells_its_facts(file):
    network = ZOO["mlp"](inputs=6, classes=3, depth=2, width=4, norm="bn")
    write_checkpoint(
        file, network.state_dict(), arch="mlp", arch_args={"depth": 2}, step=7, data="digits"
    )
    size = file.stat().st_size
    assert describe(file).facts == {
        "file": str(file),
        "size": f"{size:,} bytes",
        "format": "torch.save",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "contents": "arch, arch_args, state_dict, step, data",
        "step": "7",
        "data": "digits",
        "tensors": "9",
        "parameters": str(sum(parameter.numel() for parameter in network.parameters())),
        "dtype": "float32",
        "architecture": "mlp(depth=2), by its own word",
    }


def test_each_tensor_has_a_row(file):
    weight = torch.tensor([[3.0, -5.0], [1.0, 1.0]], dtype=torch.float16)
    torch.save({"a.weight": weight, "a.running_mean": torch.zeros(2), "n": torch.tensor(4)}, file)
    first, second, third = describe(file).tensors
    assert (first.name, first.shape, first.dtype, first.parameters) == (
        "a.weight", "2×2", "float16", 4
    )  # fmt: skip
    assert (first.std, first.max_abs) == (3.0, 5.0)
    assert second.parameters == 0
    assert (third.shape, third.std, third.max_abs) == ("", 0.0, 4.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda state: state,
            "resnet(depth=8, norm=bn, channels=3, width=2, classes=10), by names",
        ),
        (lambda state: state | {"x": torch.ones(1)}, "fits none that is known; nearest: resnet("),
        (lambda state: {"x.y": torch.ones(2, 2)}, "fits none that is known"),
    ],
)
def test_the_architecture_or_the_nearest_is_a_fact(file, change, said):
    torch.save(change(ZOO["resnet"](depth=8, width=2).state_dict()), file)
    assert describe(file).facts["architecture"].startswith(said)


def test_a_pickled_module_is_described_when_trusted(file):
    torch.save(nn.Linear(3, 2), file)
    with pytest.raises(UnsafeError):
        describe(file)
    described = describe(file, trust=True)
    assert described.facts["architecture"] == "Linear, pickled whole"
    assert [row.name for row in described.tensors] == ["weight", "bias"]
