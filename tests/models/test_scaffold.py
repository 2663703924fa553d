"""A scaffold holds exactly the tensors that it was made from, whatever they are called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from condcli.errors import InputError
from condcli.models.checkpoint import read_checkpoint
from condcli.models.guesses import Spec
from condcli.models.scaffolding.scaffold import Scaffold, scaffold
from condcli.models.shapes import built_weightless
from condcli.user_code import load_function
from tests.models.networks import LAYERS, VISION, state_of

SAMPLES = Path(__file__).parents[2] / "sample_checkpoints"


def written(state: dict[str, Tensor], file: Path) -> Scaffold:
    specs = {
        name: Spec(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in state.items()
    }
    made = scaffold(specs, model="net.pt", file=str(file))
    file.write_text(made.text, encoding="utf-8")
    return made


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
@pytest.mark.parametrize("name", [*VISION, *LAYERS])
def test_the_checkpoint_loads_strictly(name: str, tmp_path: Path) -> None:
    state = state_of(name)
    written(state, tmp_path / "model.py")
    build = load_function(f"{tmp_path / 'model.py'}:build")
    network = built_weightless(build) if name in VISION else build()
    assert {key: tensor.shape for key, tensor in network.state_dict().items()} == {
        key: tensor.shape for key, tensor in state.items()
    }
    network.load_state_dict(state, strict=True, assign=name in VISION)
    if name not in VISION:
        for key, tensor in network.state_dict().items():
            torch.testing.assert_close(tensor, state[key])


@pytest.mark.parametrize("name", ["mlp20_bn", "resnet110_lastbn"])
def test_a_sample_loads_strictly(name: str, tmp_path: Path) -> None:
    state = dict(read_checkpoint(SAMPLES / f"{name}.pt").state_dict or {})
    assert written(state, tmp_path / "model.py").unfinished == ()
    load_function(f"{tmp_path / 'model.py'}:build")().load_state_dict(state, strict=True)


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
def test_a_formatter_and_a_linter_find_nothing_to_change(tmp_path: Path) -> None:
    for number, name in enumerate([*VISION, *LAYERS]):
        written(state_of(name), tmp_path / f"model{number}.py")
    for command in (["format", "--check"], ["check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--isolated", str(tmp_path)]
        done = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_a_plain_chain_computes_what_the_network_does(tmp_path: Path) -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 3),
    ).eval()  # fmt: skip
    assert written(network.state_dict(), tmp_path / "model.py").unfinished == ()
    made = load_function(f"{tmp_path / 'model.py'}:build")().eval()
    made.load_state_dict(network.state_dict())
    x = torch.randn(2, 1, 12, 12)
    torch.testing.assert_close(made(x), network(x))


def test_attributes_that_form_a_chain_are_called_in_turn(tmp_path: Path) -> None:
    network = nn.ModuleDict(
        {"conv1": nn.Conv2d(3, 4, 3), "bn1": nn.BatchNorm2d(4), "fc": nn.Linear(4 * 9, 2)}
    )
    text = written(network.state_dict(), tmp_path / "model.py").text
    forward = text[text.index("def forward") :].splitlines()[1:8]
    assert [line.strip() for line in forward] == [
        "x = self.conv1(x)",
        "x = self.bn1(x)",
        "x = F.relu(x)  # guess: ReLU",
        "x = F.max_pool2d(x, 2)  # guess: pooling",
        "x = torch.flatten(x, 1)  # guess: 4 channels at 9 places",
        "return self.fc(x)",
        "",
    ]


def test_layers_that_do_not_connect_leave_the_forward_to_the_user(tmp_path: Path) -> None:
    network = nn.ModuleDict({"a": nn.Linear(3, 4), "b": nn.Linear(3, 4)})
    made = written(network.state_dict(), tmp_path / "model.py")
    assert made.unfinished == ("Net",)
    assert "how these are connected: a, b." in made.text
    built = load_function(f"{tmp_path / 'model.py'}:build")()
    with pytest.raises(NotImplementedError, match="write this forward"):
        built(torch.ones(1, 3))


def test_blocks_that_differ_in_size_are_one_class(tmp_path: Path) -> None:
    text = written(state_of("resnet50"), tmp_path / "model.py").text
    assert text.count("(nn.Module):") == 3
    assert "*(LayerBlock2(in_channels=1024, out_channels=256) for _ in range(5))," in text


def test_the_last_line_says_how_to_probe_it(tmp_path: Path) -> None:
    text = written(state_of("a layer alone"), tmp_path / "my model.py").text
    place = f"'{tmp_path}/my model.py':build"
    assert text.endswith(f"# condcli probe net.pt --arch {place} --data DATA\n")


HOSTILE = (
    '"); import os; os.abort()  # ',
    "'''\n\"\"\"\nraise SystemExit(9)\n",
    "\\\nraise SystemExit(9)\n\\",
    "\u2028raise SystemExit(9)",
    "__class__x",
    "__mangled",
    "class",
    "None",
    "ﬁ",  # NFKC makes fi of it
    "\ud800",
    "{0}{}%s",
    "x" * 300,
    "0" * 30,
    "-1",
    "é",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_a_name(name: str, tmp_path: Path) -> None:
    name = name.replace(".", "")
    layer = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}
    state = {f"{name}.{key}": tensor for key, tensor in layer.items()}
    state |= {f"a.{name}.{name}.x": torch.ones(1), f"b.{name}": torch.ones(2), "b.c": torch.ones(1)}
    state[f"d.{name}"] = torch.ones(1, dtype=torch.int64)
    text = written(state, tmp_path / "model.py").text
    assert text.isascii()
    network = load_function(f"{tmp_path / 'model.py'}:build")()
    assert network.state_dict().keys() == state.keys()


@pytest.mark.parametrize(
    "names",
    [
        ("",), ("a..b",), ("a.",), ("training",), ("_modules.x",), (".".join("a" * 70),),
        ("a", "a.b"), ("a.__dict__",), ("a.__init__.x",),
    ],
)  # fmt: skip
def test_names_that_no_module_can_have_are_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be in a torch module"):
        written(dict.fromkeys(names, torch.ones(1)), tmp_path / "model.py")


def test_a_path_with_a_line_break_stays_out_of_the_file() -> None:
    made = scaffold({"x": Spec((1,))}, model="a\nimport os", file="b\u2028c.py")
    assert made.text.endswith("# condcli probe MODEL --arch MODEL:build --data DATA\n")
