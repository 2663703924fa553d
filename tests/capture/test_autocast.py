"""The network in bfloat16, its moments in float32, against torch's own autocast by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import condcli
from condcli.capture.layer import LayerCapture
from condcli.cli import run
from condcli.errors import UsageError

from .test_side_effects import assert_same, state


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(1)
    return torch.randn(60, 12, generator=source), torch.arange(60) % 3


@pytest.fixture
def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))


class ByHand:
    """Rows, δ and weight gradients of one batch of the summed loss under torch's own autocast."""

    def __init__(self, model: nn.Sequential, x: Tensor, y: Tensor) -> None:
        self.x: dict[str, Tensor] = {}
        self.h: dict[str, Tensor] = {}
        with self._hooks(model):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = functional.cross_entropy(model(x), y, reduction="sum")
            loss.backward()
        self.weight_grads = {n: p.grad.clone() for n, p in model.named_parameters()}
        model.zero_grad()

    @contextmanager
    def _hooks(self, model: nn.Module) -> Iterator[None]:
        def keep(name: str) -> object:
            def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
                self.x[name] = inputs[0].detach().bfloat16().double()
                output.retain_grad()
                self.h[name] = output

            return hook

        layers = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)]
        handles = [module.register_forward_hook(keep(name)) for name, module in layers]
        yield
        for handle in handles:
            handle.remove()

    def moments(self, name: str) -> tuple[Tensor, Tensor]:
        """Σ_x and Σ_∇h."""
        delta = self.h[name].grad.double()
        x = self.x[name]
        return x.T @ x / len(x), delta.T @ delta / len(delta)


def test_the_moments_are_those_of_rows_in_bfloat16_multiplied_exactly(
    mlp: nn.Sequential, data: tuple[Tensor, Tensor]
) -> None:
    truth = ByHand(mlp, *data)
    stats = condcli.probe(mlp, data, autocast="bfloat16")
    assert list(stats.layers) == list(truth.x)
    for name, layer in stats.layers.items():
        for found, expected in zip(
            (layer.input_moment, layer.grad_moment), truth.moments(name), strict=True
        ):
            assert found.dtype == np.float32
            assert relative(found, expected.numpy()) <= 1e-6
        gradient = float(truth.weight_grads[f"{name}.weight"].norm()) / len(data[0])
        assert layer.weight_grad_norm == pytest.approx(gradient, rel=1e-5)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_units_are_counted_in_whole_numbers(mlp: nn.Sequential) -> None:
    """Counts beyond 256 have no place in bfloat16."""
    x = torch.randn(3001, 12, generator=torch.Generator().manual_seed(1))
    stats = condcli.probe(
        mlp, (x, torch.arange(3001) % 3), samples=None, batch_size=3001, autocast="bfloat16"
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = (mlp[:4](x) > 0).sum(0)
    assert stats.activations["3"].active_count.tolist() == expected.tolist()


def test_a_convolutional_network_is_that_of_float32_but_for_the_rounding() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.Tanh(),
        nn.Conv2d(8, 4, 3, stride=2),
        nn.Flatten(),
        nn.Linear(36, 3),
    )
    data = (torch.randn(32, 3, 8, 8), torch.arange(32) % 3)
    for conv in ("patches", "channels"):
        found = condcli.probe(model, data, conv=conv, autocast="bfloat16")
        expected = condcli.probe(model, data, conv=conv)
        assert found.provenance.loss == pytest.approx(expected.provenance.loss, rel=1e-2)
        for name, layer in found.layers.items():
            other = expected.layers[name]
            assert relative(layer.input_moment, other.input_moment) <= 1e-2
            assert relative(layer.grad_moment, other.grad_moment) <= 2e-2
            assert relative(layer.input_moment, other.input_moment) > 0
            assert layer.weight_grad_norm == pytest.approx(other.weight_grad_norm, rel=2e-2)


def test_weight_gradients_of_many_batches_add_up_in_float32(
    mlp: nn.Sequential, data: tuple[Tensor, Tensor]
) -> None:
    """In bfloat16 a sum of 300 like terms would stand still at 256 of them."""
    x, y = (tensor[:2].repeat(300, *[1] * (tensor.dim() - 1)) for tensor in data)
    one = condcli.probe(mlp, (x[:2], y[:2]), autocast="bfloat16", batch_size=2)
    many = condcli.probe(mlp, (x, y), autocast="bfloat16", batch_size=2)
    for name, layer in many.layers.items():
        assert layer.weight_grad_norm == pytest.approx(one.layers[name].weight_grad_norm, rel=1e-5)


def test_the_model_is_handed_back_as_it_was(
    mlp: nn.Sequential, data: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    dtypes = []
    see_grad = LayerCapture.see_grad

    def watched(self: LayerCapture, *args: object, **kwargs: object) -> None:
        dtypes.append(self.use.block.parameter.dtype)
        see_grad(self, *args, **kwargs)

    monkeypatch.setattr(LayerCapture, "see_grad", watched)
    precision = torch.get_float32_matmul_precision()
    before = state(mlp, data)
    stats = condcli.probe(mlp, data, autocast="bfloat16")
    assert_same(state(mlp, data), before)
    assert set(dtypes) == {torch.float32}
    assert torch.get_float32_matmul_precision() == precision
    assert not torch.is_autocast_enabled("cpu")
    assert (stats.provenance.autocast, stats.provenance.dtype) == ("bfloat16", "float32")
    assert condcli.probe(mlp, data).provenance.autocast == "none"


def test_autocast_is_in_the_file(
    mlp: nn.Sequential, data: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    condcli.write(condcli.probe(mlp, data, autocast="bfloat16"), tmp_path / "stats.h5")
    assert condcli.read(tmp_path / "stats.h5").provenance.autocast == "bfloat16"


def test_an_autocast_caller_does_not_change_what_is_measured(
    mlp: nn.Sequential, data: tuple[Tensor, Tensor]
) -> None:
    expected = condcli.probe(mlp, data).layers["2"].input_moment
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(condcli.probe(mlp, data).layers["2"].input_moment, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"autocast": "bfloat16", "dtype": "float64"}, "--autocast bfloat16 goes with float32"),
        ({"autocast": "float16"}, "autocast 'float16' does not exist; choose none, bfloat16"),
    ],
)
def test_autocast_that_cannot_be_is_refused(
    mlp: nn.Sequential, data: tuple[Tensor, Tensor], options: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        condcli.probe(mlp, data, **options)


def test_autocast_with_float64_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = Path(__file__).parents[2] / "sample_checkpoints" / "mlp20_default.pt"
    options = ["--autocast", "bfloat16", "--dtype", "float64"]
    assert run(["probe", str(checkpoint), "--data", "digits", *options]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        "condcli: error: --autocast bfloat16 goes with float32 only; leave out --dtype float64\n"
    )
