"""``condcli probe``, as a person types it: what it writes, says and refuses."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import transformers
from torch import nn

import condcli
from condcli.cli import run
from condcli.models import ZOO, write_checkpoint

Capture = pytest.CaptureFixture[str]
ARGS = {"inputs": 64, "classes": 10, "depth": 3, "width": 12}


class Run(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def condcli_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> Callable[..., Run]:
    """Run a command line in an empty folder; nothing half-written may stay behind."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Run:
        code = run([str(argument) for argument in arguments])
        assert not list(tmp_path.glob("*.tmp*")) + list(tmp_path.glob(".*"))
        return Run(code, *capsys.readouterr())

    return call


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "model.pt"
    model = ZOO["mlp"](**ARGS)
    write_checkpoint(path, model.state_dict(), arch="mlp", arch_args=ARGS, step=7, data="digits")
    return path


def assert_refused(result: Run, code: int, *words: object) -> None:
    assert result.code == code
    assert result.out == ""
    assert result.err.startswith("condcli: error: ")
    assert result.err.count("\n") == 1
    assert "; " in result.err
    for word in words:
        assert str(word) in result.err


def test_a_checkpoint_becomes_a_file_that_every_reading_command_takes(
    condcli_run: Callable[..., Run], checkpoint: Path
) -> None:
    result = condcli_run("probe", checkpoint, "--data", "digits", "--samples", 200)
    assert result.code == 0, result.err
    assert "3 linear maps, 2 activations" in result.out
    for command in ("spectrum", "domination", "neurons", "inspect"):
        shown = condcli_run(command, "stats.h5", "--format", "json")
        assert shown.code == 0
        assert json.loads(shown.out)["rows"]


def test_the_fisher_type_is_said_wherever_its_numbers_are_shown(
    condcli_run: Callable[..., Run], checkpoint: Path
) -> None:
    options = ("--samples", 50, "--fisher", "mc", "--mc-samples", 2, "--conv", "reduce")
    result = condcli_run("probe", checkpoint, *options)
    assert "fisher mc (2 drawn), conv reduce" in result.out
    assert "fisher mc (2 drawn) · conv reduce" in condcli_run("spectrum", "stats.h5").out
    result = condcli_run("probe", checkpoint, "--force", "--mc-samples", 2)
    assert_refused(result, 2, "empirical draws no labels", "--fisher mc")


def test_the_file_holds_what_the_api_measures(
    condcli_run: Callable[..., Run], checkpoint: Path
) -> None:
    options = {"samples": 300, "batch_size": 64, "dtype": "float64", "seed": 3}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    assert condcli_run("probe", checkpoint, "-o", "a.h5", *flags).code == 0
    written, measured = condcli.read(Path("a.h5")), condcli.probe(checkpoint, "digits", **options)
    assert written.provenance.data_sha256 == measured.provenance.data_sha256
    assert written.provenance.loss == measured.provenance.loss
    assert written.provenance.step == 7
    for name, layer in measured.layers.items():
        assert np.array_equal(written.layers[name].input_moment, layer.input_moment)
        assert np.array_equal(written.layers[name].grad_moment, layer.grad_moment)


def test_an_untrained_network_is_said_to_guess(
    condcli_run: Callable[..., Run], checkpoint: Path
) -> None:
    result = condcli_run("probe", checkpoint)
    assert "warning" in result.err
    assert "--normalize" in result.err
    assert condcli_run("--quiet", "probe", checkpoint, "-o", "b.h5") == Run(0, "", "")


def test_a_matched_architecture_is_reported(
    condcli_run: Callable[..., Run], tmp_path: Path
) -> None:
    bare = {f"module.{k}": v for k, v in ZOO["mlp"](**ARGS).state_dict().items()}
    torch.save({"state_dict": bare, "epoch": 3}, tmp_path / "bare.pt")
    result = condcli_run("probe", "bare.pt", "--data", "digits", "--samples", 50)
    assert result.code == 0
    assert "module." in result.err
    assert "mlp" in result.err


def test_layers_left_out_are_listed_as_skipped(
    condcli_run: Callable[..., Run], checkpoint: Path
) -> None:
    names = [*condcli.probe(checkpoint, "digits", samples=20).layers]
    assert condcli_run("probe", checkpoint, "--layers", names[0]).code == 0
    stats = condcli.read(Path("stats.h5"))
    assert [*stats.layers] == names[:1]
    assert [*stats.skipped] == names[1:]


def test_bytes_are_not_taken_for_the_tokens_of_a_folders_tokenizer(
    condcli_run: Callable[..., Run], tmp_path: Path
) -> None:
    config = transformers.GPT2Config(vocab_size=300, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    (tmp_path / "gpt2" / "tokenizer.json").write_text("{}")
    (tmp_path / "text.txt").write_text("Read as bytes, this has a meaning of its own. " * 9)
    given = ["probe", tmp_path / "gpt2", "--data", f"text:{tmp_path / 'text.txt'}", "--length", 8]
    refused = condcli_run(*given, "-o", tmp_path / "a.h5")
    assert refused.code == 2
    assert f"pass --tokenizer {tmp_path / 'gpt2'}" in refused.err
    assert condcli_run(*given, "--tokenizer", "bytes", "-o", tmp_path / "b.h5").code == 0


def test_an_output_that_exists_is_kept_unless_forced(
    condcli_run: Callable[..., Run], checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "stats.h5"
    output.write_bytes(b"mine")
    assert_refused(condcli_run("probe", checkpoint), 5, "stats.h5", "--force")
    assert output.read_bytes() == b"mine"
    assert condcli_run("probe", checkpoint, "--samples", 20, "--force").code == 0


def test_an_input_is_never_replaced_by_the_output(
    condcli_run: Callable[..., Run], checkpoint: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((5, 64), np.float32), y=np.arange(5))
    before = {name: (tmp_path / name).read_bytes() for name in ("model.pt", "d.npz")}
    for name in before:
        result = condcli_run("probe", checkpoint, "--data", "d.npz", "-o", name, "--force")
        assert_refused(result, 5, name, "input")
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--data", "digit"], 3, ["digits"]),
        (["--data", "mnist"], 3, ["--download", "--root"]),
        (["--data", "none.npz"], 3, ["none.npz"]),
        (["--data", "random:3x32x32"], 3, ["3×32×32"]),
        (["--samples", "few"], 2, ["few"]),
        (["--batch-size", "0"], 2, ["--batch-size"]),
        (["--normalize", "1/2/3"], 2, ["1/2/3"]),
        (["--normalize", "0,0/1,1"], 2, ["2 numbers", "1 channel"]),
        (["--conv", "pixels"], 2, ["pixels"]),
        (["--loss", "hinge"], 2, ["hinge"]),
        (["--loss", "mse"], 3, ["mse"]),
        (["--device", "tpu"], 2, ["tpu"]),
        (["--device", "cpu:x"], 2, ["cpu:x"]),
        (["--layers", "conv*"], 2, ["conv*", "fc1"]),
        (["--data", "random:1x8x8", "--loss", "mse"], 2, ["random:1x8x8", "mse"]),
        (["--arch", "resnet18"], 2, ["torchvision:resnet18"]),
        (["--arch", "mlp", "--arch-arg", "depth=9"], 3, ["model.pt"]),
        (["--arch", "absent.py:build"], 3, ["absent.py"]),
        (["-o", "no/such/folder/s.h5"], 5, ["no/such/folder"]),
        (["--layers", "*", "--split", "validation"], 2, ["validation"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_done_is_refused_in_one_line(
    condcli_run: Callable[..., Run],
    checkpoint: Path,
    tmp_path: Path,
    arguments: list[str],
    code: int,
    words: list[str],
) -> None:
    assert_refused(condcli_run("probe", checkpoint, *arguments), code, *words)
    assert not (tmp_path / "stats.h5").exists()


@pytest.mark.parametrize("word", ["evil.py:data", "os:getcwd", "secret.npz", "imagefolder:."])
def test_a_checkpoint_cannot_ask_for_code_or_files(
    condcli_run: Callable[..., Run], tmp_path: Path, word: str
) -> None:
    (tmp_path / "evil.py").write_text("open('ran', 'w')\ndef data(): pass\n")
    state = ZOO["mlp"](**ARGS).state_dict()
    write_checkpoint(tmp_path / "m.pt", state, arch="mlp", arch_args=ARGS, data=word)
    assert_refused(condcli_run("probe", "m.pt"), 4, "m.pt", word, "--data")
    assert not (tmp_path / "ran").exists()


def test_the_checkpoints_own_normalisation_counts_and_is_blamed(
    condcli_run: Callable[..., Run], tmp_path: Path
) -> None:
    state = ZOO["mlp"](**ARGS).state_dict()
    for word in ("0.5/0.25", "1,2,3/1,1,1"):
        write_checkpoint(
            tmp_path / f"{word[0]}.pt",
            state,
            arch="mlp",
            arch_args=ARGS,
            data="digits",
            normalize=word,
        )
    probed = condcli.probe(tmp_path / "0.pt", samples=50)
    assert probed.provenance.normalize == "mean 0.5, std 0.25"
    assert condcli.probe(tmp_path / "0.pt", samples=50, normalize="none").provenance.loss != (
        probed.provenance.loss
    )
    assert_refused(condcli_run("probe", "1.pt"), 3, "1.pt", "--normalize")


def test_a_network_without_linear_maps_is_said_to_have_none(
    condcli_run: Callable[..., Run], tmp_path: Path
) -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(10))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)[:, :10] * self.scale

    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n" + textwrap.dedent(inspect.getsource(Scale))
    )
    torch.save(Scale().state_dict(), tmp_path / "scale.pt")
    result = condcli_run("probe", "scale.pt", "--arch", "net.py:Scale", "--data", "digits")
    assert result.code == 0
    assert "no linear map" in result.err


def test_classes_that_differ_are_named(condcli_run: Callable[..., Run], tmp_path: Path) -> None:
    model = ZOO["mlp"](**ARGS | {"classes": 7})
    write_checkpoint(
        tmp_path / "seven.pt", model.state_dict(), arch="mlp", arch_args=ARGS | {"classes": 7}
    )
    assert_refused(
        condcli_run("probe", "seven.pt", "--data", "digits"), 3, "seven.pt", "10", "7", "digits"
    )


def test_a_checkpoint_that_does_not_name_its_data_asks_for_them(
    condcli_run: Callable[..., Run], tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "m.pt", ZOO["mlp"](**ARGS).state_dict(), arch="mlp", arch_args=ARGS)
    assert_refused(condcli_run("probe", "m.pt"), 2, "m.pt", "--data")


def test_a_pickled_module_needs_trust(condcli_run: Callable[..., Run], tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), tmp_path / "whole.pt")
    assert_refused(condcli_run("probe", "whole.pt", "--data", "digits"), 4, "--trust")
    assert condcli_run("probe", "whole.pt", "--data", "digits", "--trust").code == 0


def test_a_weight_that_is_not_a_number_is_named(
    condcli_run: Callable[..., Run], tmp_path: Path
) -> None:
    state = ZOO["mlp"](**ARGS).state_dict()
    name = next(iter(state))
    state[name][0, 0] = float("nan")
    write_checkpoint(tmp_path / "nan.pt", state, arch="mlp", arch_args=ARGS)
    assert_refused(condcli_run("probe", "nan.pt", "--data", "digits"), 3, "nan.pt", name)


def test_activations_that_overflow_name_the_first_layer(
    condcli_run: Callable[..., Run], tmp_path: Path
) -> None:
    state = ZOO["mlp"](**ARGS).state_dict()
    first, second, third = [name for name in state if name.endswith("weight")]
    state[first] *= 1e25
    state[second] *= 1e25
    write_checkpoint(tmp_path / "big.pt", state, arch="mlp", arch_args=ARGS)
    result = condcli_run("probe", "big.pt", "--data", "digits", "--samples", 50)
    assert_refused(result, 3, third.removesuffix(".weight"), "inputs", "not finite")
