"""What `condcli inspect` tells of a checkpoint."""

import hashlib
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from condcli.errors import UnsafeError
from condcli.models import ZOO, describe, write_checkpoint
from tests.models.networks import LAYERS


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
        "next": f"condcli probe {file}",
    }


def test_each_tensor_has_a_row(file):
    weight = torch.tensor([[3.0, -5.0], [1.0, 1.0]], dtype=torch.float16)
    torch.save({"a.weight": weight, "a.running_mean": torch.zeros(2), "n": torch.tensor(4)}, file)
    first, second, third = describe(file).tensors()
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
        (lambda state: state | {"x": torch.ones(1)}, "fits none that is known"),
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
    assert described.facts["architecture"] == "Linear, saved whole"
    assert [row.name for row in described.tensors()] == ["weight", "bias"]


def test_the_nearest_is_shown_with_what_differs(file):
    network = torchvision.models.resnet18(num_classes=10)
    network.conv1 = nn.Conv2d(3, 64, 3, bias=False)
    torch.save(network.state_dict(), file)
    facts = describe(file).facts
    assert facts["nearest 1"] == (
        "torchvision:resnet18(num_classes=10): 1 of 102 tensors differs: "
        "conv1.weight 64×3×3×3 instead of 64×3×7×7"
    )
    assert facts["next"] == (
        f"condcli inspect {file} --scaffold model.py; "
        f"then condcli probe {file} --data DATA --arch model.py:build"
    )


def test_several_that_fit_are_told_apart_by_arch_alone(file):
    torch.save(ZOO["preresnet"](depth=8, norm="none").state_dict(), file)
    facts = describe(file).facts
    assert facts["architecture"].endswith(": the same tensors, used in different ways")
    assert facts["next"].endswith("--data DATA --arch resnet_lastbn or preresnet")


def rows_of(network, file):
    torch.save(network.state_dict(), file)
    return [(row.module, row.guess, row.shape, row.parameters) for row in describe(file).modules()]


def test_repeated_blocks_are_folded(file):
    block = [nn.Linear(4, 4), nn.ReLU(), nn.LayerNorm(4)]
    layers = [nn.Sequential(*block) for _ in range(3)]
    network = nn.ModuleDict({"layers": nn.ModuleList(layers), "head": nn.Linear(4, 2)})
    assert rows_of(network, file) == [
        ("layers", "", "", 84),
        ("· 0 … 2", "3 × 28", "", 84),
        ("· · 0", "linear 4→4", "4×4", 20),
        ("· · 2", "layer norm 4", "4", 8),
        ("head", "linear 4→2", "2×4", 10),
    ]


@pytest.mark.parametrize("name", ["bert", "lstm tagger", "transformer", "attention", "norms"])
def test_the_tree_accounts_for_every_parameter(name, file):
    network = LAYERS[name]()
    torch.save(network.state_dict(), file)
    top = [row.parameters for row in describe(file).modules() if row.depth == 0]
    assert sum(top) == sum(parameter.numel() for parameter in network.parameters())


def lora():
    inner = nn.ModuleDict({"base_layer": nn.Linear(6, 5), "lora_A": nn.Linear(6, 2, bias=False)})
    inner["lora_B"] = nn.Linear(2, 5, bias=False)
    return nn.ModuleDict({"q": inner})


@pytest.mark.parametrize(
    ("build", "guesses"),
    [
        (lambda: nn.Conv3d(2, 4, (1, 3, 3)), ["conv 1×3×3 2→4"]),
        (lambda: nn.ConvTranspose2d(8, 4, 2), ["transposed conv 2×2 8→4"]),
        (lambda: nn.Conv2d(8, 4, 2, bias=False), ["conv 2×2 8→4, or transposed"]),
        (
            lambda: nn.Sequential(nn.Conv2d(1, 6, 5), nn.Conv2d(6, 6, 3, groups=6)),
            ["conv 5×5 1→6", "conv 3×3 6→6, depthwise"],
        ),
        (
            lambda: nn.Sequential(nn.Conv2d(1, 8, 5), nn.Conv2d(8, 8, 3, groups=4)),
            ["conv 5×5 1→8", "conv 3×3 8→8, 4 groups"],
        ),
        (lambda: nn.Conv1d(2, 4, 9), ["conv1d 9 2→4"]),
        (lambda: nn.LSTM(5, 7, 2, bidirectional=True), ["LSTM 5→7, 2 layers, bidirectional"]),
        (lambda: nn.GRU(5, 7), ["GRU 5→7"]),
        (lambda: nn.RNNCell(5, 7), ["RNN cell 5→7"]),
        (lambda: nn.MultiheadAttention(8, 2), ["multi-head attention 8"]),
        (lambda: nn.BatchNorm1d(3), ["batch norm 3"]),
        (lambda: nn.RMSNorm(3), ["RMS norm 3"]),
        (lambda: nn.PReLU(), ["PReLU 1"]),
        (lambda: nn.Embedding(50, 8), ["embedding 50 × 8"]),
        (
            lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)),
            ["linear 3→2, weight norm"],
        ),
        (lora, ["linear 6→5 with LoRA of rank 2", "linear 6→5", "linear 6→2", "linear 2→5"]),
        (LAYERS["lstm tagger"], ["embedding 30 × 8", "LSTM 8→6", "linear 6→4"]),
    ],
)
def test_layers_are_guessed(build, guesses, file):
    assert [guess for _, guess, _, _ in rows_of(build(), file)] == guesses


def test_a_tensor_of_no_layer_has_its_own_row(file):
    torch.save({"a.pos_embed": torch.ones(1, 5, 8), "a.ids": torch.arange(5)}, file)
    rows = describe(file).modules()
    assert [(row.module, row.guess, row.parameters) for row in rows] == [
        ("a", "", 40),
        ("· pos_embed", "positional embedding", 40),
        ("· ids", "buffer, int64", 0),
    ]


def test_a_name_of_ten_thousand_parts_is_described(file):
    torch.save({".".join("a" * 10_000): torch.ones(2)}, file)
    assert sum(row.parameters for row in describe(file).modules() if row.depth == 0) == 2


def test_a_path_with_a_leading_dash_is_written_so_that_it_can_be_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(nn.Linear(3, 2).state_dict(), "-x.pt")
    assert "condcli inspect ./-x.pt --scaffold" in describe(Path("-x.pt")).facts["next"]
