"""NaN and infinity name the layer and the batch; or are kept, and flagged."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condcli.analysis.merge import merge
from condcli.api import probe
from condcli.capture.finite import first_of
from condcli.cli import run
from condcli.errors import InputError
from condcli.stats import LayerStats, ProbeStats
from condcli.statsfile import write

BATCH, EXAMPLES = 8, 30
BAD = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


class Spoiled(nn.Module):
    """Passes its input on, and puts a number into the forward or backward of one batch."""

    def __init__(self, bad: float, *, batch: int, backward: bool) -> None:
        super().__init__()
        self.bad, self.batch, self.backward = bad, batch, backward
        self.calls: list[int] = []  # how many examples each had; the rehearsal has 2

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 3:
            self.calls.append(len(x))
        if len(x) <= 3 or len(self.calls) - 1 != self.batch:
            return x
        if self.backward:
            return Late.apply(x, self.bad)
        x = x.clone()
        x[1].fill_(self.bad)
        return x


class Late(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bad: float) -> Tensor:
        ctx.bad = bad
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        grad = grad.clone()
        grad[1].fill_(ctx.bad)
        return grad, None


def dense(spoiled: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            fc1=nn.Linear(6, 5), fc2=nn.Linear(5, 300), spoiled=spoiled, fc3=nn.Linear(300, 3)
        )
    )


def convolutional(spoiled: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            shape=nn.Unflatten(1, (1, 2, 3)),
            fc1=nn.Conv2d(1, 4, 1),
            fc2=nn.Conv2d(4, 4, 3, padding=1),
            spoiled=spoiled,
            fc3=nn.Conv2d(4, 2, 3, padding=1),
            pool=nn.Flatten(),
            head=nn.Linear(12, 3),
        )
    )


def measured(network: nn.Module, **options: Any) -> ProbeStats:
    torch.manual_seed(0)
    data = (torch.randn(EXAMPLES, 6), torch.arange(EXAMPLES) % 3)
    return probe(network, data, batch_size=BATCH, per_example="all", **options)


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
@pytest.mark.parametrize("batch", [0, 2, 3])
@pytest.mark.parametrize(
    ("backward", "what"), [(False, "fc3: its inputs"), (True, "fc2: its gradients")]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_layer_and_the_batch_are_named(
    bad: float, batch: int, backward: bool, what: str, dtype: str
) -> None:
    sizes = [8, 8, 7, 7]
    first = sum(sizes[:batch])
    expected = f"layer {what} are not finite in the batch of examples "
    expected += f"{first} … {first + sizes[batch] - 1}; "
    network = dense(Spoiled(bad, batch=batch, backward=backward))
    with pytest.raises(InputError, match=expected) as caught:
        measured(network, dtype=dtype)
    assert ("--dtype float64" in str(caught.value)) == (dtype == "float32")
    assert len(network.spoiled.calls) == batch + 1, "found at the end of its batch"


@pytest.mark.parametrize("conv", ["channels", "patches"])
@pytest.mark.parametrize(
    ("backward", "what"), [(False, "fc3: its inputs"), (True, "fc2: its gradients")]
)
def test_so_they_are_of_convolutions(conv: str, backward: bool, what: str) -> None:
    network = convolutional(Spoiled(float("nan"), batch=1, backward=backward))
    with pytest.raises(InputError, match=f"{what} are not finite in the batch of examples 8 … 15"):
        measured(network, conv=conv)


class Halves(nn.Module):
    """A network that computes in a precision of its own."""

    def __init__(self, dtype: torch.dtype, factor: float = 1.0) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 5, bias=False)
        self.head = nn.Linear(5, 3)
        self.dtype, self.factor = dtype, factor
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        x = (x * self.factor).to(self.dtype)
        self.seen.append(x.double())
        return self.head(F.linear(x, self.fc.weight.to(self.dtype)).float())


def test_float16_rows_are_multiplied_and_added_up_in_float32() -> None:
    """Of rows near 100, float16 products are infinite and sums right to three digits."""
    network = Halves(torch.float16, 100.0)
    layer = measured(network).layers["fc"]
    rows = torch.cat(network.seen[-4:])
    np.testing.assert_allclose(layer.input_moment, rows.T @ rows / EXAMPLES, rtol=1e-5)
    np.testing.assert_allclose(layer.input_mean, rows.mean(0), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_numbers_that_overflow_in_half_precision_name_the_layer(dtype: torch.dtype) -> None:
    """A float16 holds no more than 65,504."""
    network = Halves(dtype, 1e6 if dtype == torch.float16 else 1e38)
    network.fc.weight.data.fill_(1e3)
    layer = "fc" if dtype == torch.float16 else "head"
    message = f"layer {layer}: its inputs are not finite in the batch of examples 0 … 7"
    with pytest.raises(InputError, match=message):
        measured(network)


def huge(network: nn.Sequential) -> nn.Sequential:
    """x of 1e20 and δ of 1e30: their moments are told, ∂L/∂W is not."""

    class Scale(nn.Module):
        def __init__(self, by: float) -> None:
            super().__init__()
            self.by = by

        def forward(self, x: Tensor) -> Tensor:
            return x * self.by

    fc = nn.Linear(6, 3, bias=False)
    fc.weight.data *= 1e-30
    return nn.Sequential(OrderedDict(up=Scale(1e20), fc=fc, out=Scale(1e30)))


def test_a_weight_gradient_that_overflows_is_told_and_lapack_says_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(InputError, match="layer fc: its weight gradients are not finite"):
        measured(huge(nn.Sequential()))
    assert capfd.readouterr() == ("", "")
    layer = measured(huge(nn.Sequential()), allow_nonfinite=True).layers["fc"]
    assert layer.nonfinite == "weight gradients"
    assert np.isnan(layer.weight_grad_singular_values).all()
    assert np.isfinite(layer.input_moment).all()
    assert np.isfinite(layer.grad_moment).all()
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def flagged() -> ProbeStats:
    return measured(dense(Spoiled(float("nan"), batch=1, backward=True)), allow_nonfinite=True)


def test_what_is_allowed_is_kept_and_flagged_with_its_first_batch(flagged: ProbeStats) -> None:
    assert {name: layer.nonfinite for name, layer in flagged.layers.items()} == {
        "fc1": "gradients in the batch of examples 8 … 15; weight gradients",
        "fc2": "gradients in the batch of examples 8 … 15; weight gradients",
        "fc3": None,
    }
    broken = flagged.layers["fc2"]
    assert np.isnan(broken.grad_moment).any()
    assert np.isfinite(broken.input_moment).all()
    assert broken.weight_grad_moment_lambda_max is None
    assert broken.weight_grad_moment_note.startswith("not finite: gradients in the batch")


def test_sound_layers_are_as_they_would_be(flagged: ProbeStats) -> None:
    sound = measured(dense(Spoiled(1.0, batch=1, backward=True)), allow_nonfinite=True)
    assert not any(layer.nonfinite for layer in sound.layers.values())
    same: list[Callable[[LayerStats], np.ndarray]] = [
        lambda layer: layer.input_moment,
        lambda layer: layer.grad_moment,
        lambda layer: layer.weight_grad_singular_values,
    ]
    for of in same:
        np.testing.assert_array_equal(of(flagged.layers["fc3"]), of(sound.layers["fc3"]))


def test_every_command_shows_what_is_flagged(
    flagged: ProbeStats, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "stats.h5")
    write(flagged, file)
    note = "not finite: gradients in the batch of examples 8 … 15; weight gradients"
    for options in ([], ["--cache"], [], ["--top", "2"], ["--eigenvalues"]):
        rows, facts = shown(capsys, "spectrum", file, *options)
        assert facts == {"note on fc1": note, "note on fc2": note}
    (_, row, sound), _ = shown(capsys, "spectrum", file)
    assert (row["lambda_max_grad"], row["lambda_max"], row["note"]) == (None, None, note)
    assert row["lambda_max_input"] > 0
    assert row["kappa"]["100"]["value"] is row["kappa"]["100"]["lower_bound"] is None
    assert (sound["note"], sound["lambda_max"] > 0) == ("", True)
    rows, _ = shown(capsys, "domination", file)
    assert [row["dominated"] for row in rows] == [None, None, False]
    assert (rows[1]["sigma_max_grad"], rows[1]["note"]) == (None, note)
    rows, _ = shown(capsys, "inspect", file)
    assert rows[1]["status"].startswith(f"not finite ({note[12:]}): grad_moment, grad_mean, ")
    assert rows[2]["status"] == "ok"
    rows, _ = shown(capsys, "verify", file)
    assert rows[-1] == {
        "holds": "flagged as not finite, so not looked at",
        "examined": 2,
        "things": "layers",
    }


@pytest.mark.parametrize(
    ("command", "gate"),
    [("spectrum", "lambda_max>0"), ("domination", "dominated"), ("domination", "ratio<1e9")],
)
def test_what_is_not_known_meets_no_gate(
    flagged: ProbeStats, tmp_path: Path, command: str, gate: str
) -> None:
    layers = {name: layer for name, layer in flagged.layers.items() if layer.nonfinite}
    write(replace(flagged, layers=layers), tmp_path / "stats.h5")
    assert run([command, str(tmp_path / "stats.h5"), "--fail-on", gate]) == 0


def test_a_shard_that_is_flagged_flags_the_whole(capfd: pytest.CaptureFixture[str]) -> None:
    shards = {}
    for i in (1, 2):
        network = dense(Spoiled(float("nan"), batch=i - 1, backward=True))
        shards[str(i)] = measured(network, allow_nonfinite=True, shard=f"{i}/2")
    whole = merge(shards)
    assert whole.layers["fc2"].nonfinite == (
        "gradients in the batch of examples 0 … 7; weight gradients; "
        "gradients in the batch of examples 23 … 29; weight gradients"
    )
    assert np.isnan(whole.layers["fc2"].weight_grad_singular_values).all()
    assert whole.layers["fc3"].nonfinite is None
    unflagged = replace(shards["1"].layers["fc2"], nonfinite=None)
    shards["1"] = replace(shards["1"], layers={**shards["1"].layers, "fc2": unflagged})
    with pytest.raises(InputError, match="layer 'fc2': its ∂L/∂W is not finite"):
        _ = merge(shards).layers["fc2"]
    assert capfd.readouterr() == ("", "")


def test_of_several_processes_the_earliest_batch_is_told() -> None:
    told = [{"inputs": [64, 95]}, {}, {"gradients": [0, 31], "inputs": [32, 63]}, {"weights": []}]
    assert first_of(told) == {"weights": [], "inputs": [32, 63], "gradients": [0, 31]}


def shown(capsys: pytest.CaptureFixture[str], *command: str) -> tuple[list[Any], dict[str, str]]:
    assert run([*command, "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    return report["rows"], report["facts"]


def test_weights_that_are_not_finite_are_told_first() -> None:
    network = dense(nn.Identity())
    network.fc2.weight.data[0, 0] = torch.nan
    with pytest.raises(InputError, match="layer fc2: its weights are not finite; check"):
        measured(network)
    layers = measured(network, allow_nonfinite=True).layers
    assert layers["fc2"].nonfinite is not None
    assert layers["fc2"].nonfinite.startswith("weights; gradients in the batch of examples 0 … 7")
    assert np.isnan(layers["fc2"].weight_singular_values).all()
    assert layers["fc3"].nonfinite is not None
    assert layers["fc3"].nonfinite.startswith("inputs in the batch of examples 0 … 7")
