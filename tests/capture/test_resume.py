"""A run that was stopped goes on to the same bits, or says why it cannot."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import condcli
from condcli import capture
from condcli.api import NOT_ASKED
from condcli.capture import Options, packing
from condcli.capture.mode import Capture
from condcli.capture.packing import Names, Packer, Unpacker
from condcli.capture.saving import read_state
from condcli.capture.snapshot import CARRIED, OF_A_PASS, OF_THE_NETWORK, TOLD
from condcli.errors import CannotFinishError, InputError
from condcli.stats import ProbeStats

from .cases import CASES, CLASSES, Case, labelled
from .parts import NETS, SIZES, WIDE, Net
from .resuming import assert_identical, resumed, stopping
from .test_computed_weights import LINEAR


class Changing(nn.Module):
    """Its buffers tell where an example goes, and how; an embedding is renormalised in place."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self.register_buffer("average", torch.zeros(6))
        self.embedding = nn.Embedding(5, 6, max_norm=0.1)
        self.ways = nn.ModuleList(nn.Linear(6, CLASSES) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        self.batches += 1
        self.average = (0.9 * self.average + x.mean(0)).detach()
        x = x - self.average + self.embedding(x[:, 0].long().clamp(0, 4))
        return self.ways[int(self.batches) % 2](x)


class Drawing(nn.Module):
    """Draws random numbers of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.5), nn.Linear(4, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.randn(1) + random.gauss(0, 1) + np.random.standard_normal()
        return self.net(x + noise.to(x))


def wide() -> nn.Module:
    """Layers whose moments are summed in pieces."""
    return nn.Sequential(nn.Linear(6, 300), nn.ReLU(), nn.Linear(300, CLASSES))


def maps() -> nn.Module:
    """Convolutions that are displaced, strided and grouped."""
    return nn.Sequential(
        nn.Conv2d(4, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 16, 3, stride=2, groups=2),
        nn.Flatten(),
        nn.Linear(16 * 9, CLASSES),
    )


TABLE = labelled(6, sizes=SIZES)
MORE = {
    **NETS,
    **WIDE,
    "changing": Net(Changing, TABLE),
    "drawing": Net(Drawing, TABLE),
    "wide": Net(wide, TABLE),
    "maps": Net(maps, labelled(4, 8, 8, sizes=SIZES), {"conv": "patches"}),
    "autocast": Net(maps, labelled(4, 8, 8, sizes=SIZES), {"autocast": "bfloat16"}),
    "a shard": Net(wide, labelled(6, sizes=SIZES * 2), {"shard": "1/2"}),
    **{
        name: Net(lambda make=make: nn.Sequential(make(), nn.Linear(5, CLASSES)), TABLE)
        for name, make in LINEAR.items()
    },
    "some layers": Net(wide, TABLE, {"layers": ["2"]}),
}


@pytest.mark.parametrize("net", MORE.values(), ids=MORE)
def test_a_resumed_run_gives_the_same_bits(net: Net, tmp_path: Path) -> None:
    whole = condcli.probe(net.model(), net.batches(), **net.options)
    again = resumed(net.model, net.batches, tmp_path / "s", after=2, **net.options)
    assert_identical(again, whole)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_kind_of_network_can_be_resumed(case: Case, tmp_path: Path) -> None:
    options: dict[str, Any] = {"conv": "patches", "per_example": "all", "loss": case.loss}

    def data() -> Any:
        return case.batches() * 2

    whole = condcli.probe(case.model(), data(), **options)
    assert_identical(resumed(case.model, data, tmp_path / "s", after=1, **options), whole)


def test_a_state_can_be_saved_again_and_again(tmp_path: Path) -> None:
    net, state = MORE["maps"], tmp_path / "s"
    whole = condcli.probe(net.model(), net.batches(), **net.options)
    for run in range(3):
        with pytest.raises(KeyboardInterrupt):
            condcli.probe(
                net.model(),
                net.batches(),
                save=state,
                save_every=0,
                resume=run > 0,
                progress=stopping(1),
                **net.options,
            )
        assert read_state(state).done == run + 1
    assert_identical(
        condcli.probe(net.model(), net.batches(), save=state, resume=True, **net.options), whole
    )


def capture_of(model: nn.Module) -> Capture:
    options = Options(
        conv="channels",
        norm="batch",
        per_example="auto",
        dtype=torch.float32,
        device=torch.device("cpu"),
        seed=0,
        layers=(),
        exclude=(),
    )
    return Capture(model, options)


def test_no_attribute_of_a_capture_is_forgotten() -> None:
    """A new one belongs into one of these sets, or a state would lack it."""
    found = capture_of(nn.Linear(2, 2))
    assert set(vars(found)) == {*CARRIED, *TOLD, *OF_A_PASS, *OF_THE_NETWORK}
    assert set(vars(found.computed)) == {
        *("_blocks", "_spread"),  # carried
        *("_live", "_weights", "_modules", "_paths", "of_sum"),  # of a pass, of the network
    }
    assert set(vars(found.sites)) == {
        *("layers", "_taken"),  # carried: the second follows from the first
        *("_running", "_calls", "_unit_axes", "_model", "_paths"),
    }


def test_every_class_that_sums_up_can_be_held() -> None:
    """Also one that is yet to be written."""
    for module in pkgutil.iter_modules(capture.__path__):
        found = vars(importlib.import_module(f"condcli.capture.{module.name}"))
        for name, kind in found.items():
            sums = any(hasattr(kind, method) for method in ("running_sums", "lambda_max"))
            if isinstance(kind, type) and sums and not getattr(kind, "_is_protocol", False):
                assert packing.CLASSES.get(name) is kind


def test_what_a_state_cannot_hold_is_an_error() -> None:
    names = Names(capture_of(nn.Linear(2, 2)))
    for value in (object(), np.float64(1), np.zeros(2), lambda: 0, nn.Linear(1, 1)):
        with pytest.raises(TypeError, match="a state cannot hold"):
            Packer(names).word([{"a": value}])


def test_words_become_the_same_values() -> None:
    names = Names(capture_of(nn.Linear(2, 2)))
    permuted = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    values = [
        *(None, True, 7, 2**300, 0.1, float("inf"), "λ", (1, [2.5]), {3, 1}, {(1, 2): None}),
        *(slice(1, None), torch.float16, torch.Size([2, 3]), frozenset({4})),
    ]
    packer = Packer(names)
    words = [packer.word(value) for value in [*values, permuted]]
    unpacker = Unpacker(packer.tensors, names)
    *found, tensor = map(unpacker.value, words)
    assert found == values
    assert torch.equal(tensor, permuted)
    assert tensor.stride() == permuted.stride()
    assert tensor._base is None


def plain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, CLASSES))


def stopped(state: Path, **options: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        condcli.probe(plain(), DATA(), save=state, save_every=0, progress=stopping(2), **options)


def resume(state: Path, **options: Any) -> ProbeStats:
    return condcli.probe(plain(), DATA(), save=state, resume=True, **options)


DATA = TABLE


def kept(attribute: Any) -> Callable[[nn.Module], None]:
    return lambda net: setattr(net, "buffer", attribute(net))


def test_every_option_is_part_of_what_must_be_the_same(tmp_path: Path) -> None:
    stopped(tmp_path / "s")
    known = read_state(tmp_path / "s").fingerprint
    of_probe = set(inspect.signature(condcli.probe).parameters)
    assert of_probe - set(NOT_ASKED) <= set(known)
    assert set(NOT_ASKED) <= of_probe
    more = ("model sha256", "architecture", "data", "choice of examples", "batch size", "device")
    assert {*more, "condcli", "torch", "numpy", "Python", "threads", "processor"} <= set(known)


def test_each_difference_is_named(tmp_path: Path) -> None:
    stopped(tmp_path / "s")
    state = read_state(tmp_path / "s")
    for name in state.fingerprint:
        with pytest.raises(InputError) as caught:
            state.require_same({**state.fingerprint, name: "something else"})
        assert f"{tmp_path / 's'}: was saved with {name} " in str(caught.value)
        assert "now it is something else; make it the same again" in str(caught.value)
    state.require_same(state.fingerprint)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"norm": "running"}, "norm"),
        ({"conv": "patches"}, "conv"),
        ({"per_example": "all"}, "per_example"),
        ({"dtype": "float64"}, "dtype"),
        ({"autocast": "bfloat16"}, "autocast"),
        ({"seed": 1}, "seed"),
        ({"layers": ["0"]}, "layers"),
        ({"exclude": ["0"]}, "exclude"),
        ({"ignore_label": 1}, "ignore_label"),
        ({"shard": "1/2"}, "shard"),
        ({"samples": 9}, "samples"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_options_are_refused(options: dict[str, Any], name: str, tmp_path: Path) -> None:
    stopped(tmp_path / "s")
    with pytest.raises(InputError, match=f"was saved with {name} .*, and now it is"):
        resume(tmp_path / "s", **options)


def test_another_network_is_refused(tmp_path: Path) -> None:
    stopped(tmp_path / "s")
    model = plain()
    with torch.no_grad():
        model[0].weight[0, 0] += 1
    with pytest.raises(InputError, match="was saved with model sha256"):
        condcli.probe(model, DATA(), save=tmp_path / "s", resume=True)


def test_other_data_are_refused_also_where_they_were_done(tmp_path: Path) -> None:
    stopped(tmp_path / "s")
    changed = DATA()
    changed[1][0][0, 0] += 1
    with pytest.raises(InputError, match="are not those of the saved state; give the same data"):
        condcli.probe(plain(), changed, save=tmp_path / "s", resume=True)


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped(tmp_path / "s")
    monkeypatch.setattr(condcli, "__version__", "99")
    with pytest.raises(InputError, match=r"was saved with condcli 0.*, and now it is 99"):
        resume(tmp_path / "s")


def test_an_interrupted_run_is_not_lost_by_mistake(tmp_path: Path) -> None:
    stopped(tmp_path / "s")
    before = (tmp_path / "s").read_bytes()
    with pytest.raises(CannotFinishError, match="pass --resume to go on with it, or --force"):
        condcli.probe(plain(), DATA(), save=tmp_path / "s")
    (tmp_path / "mine").write_text("a text")
    with pytest.raises(CannotFinishError, match="is no state of a probe"):
        condcli.probe(plain(), DATA(), save=tmp_path / "mine")
    assert (tmp_path / "s").read_bytes() == before


def test_a_batch_size_that_was_found_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = torch.randn(20, 6), torch.arange(20) % CLASSES

    def probe(**options: Any) -> ProbeStats:
        return condcli.probe(plain(), (x, y), batch_size="auto", save_every=0, **options)

    monkeypatch.setattr("condcli.capture.batch_size.has_room", lambda *_, **__: False)
    whole = probe()
    with pytest.raises(KeyboardInterrupt):
        probe(save=tmp_path / "s", progress=stopping(3))
    monkeypatch.undo()
    assert_identical(probe(save=tmp_path / "s", resume=True), whole)


class Keeping(nn.Module):
    """Keeps something where nobody looks for it."""

    def __init__(self, keep: Callable[[Keeping], None]) -> None:
        super().__init__()
        self.net = nn.Linear(6, CLASSES)
        self.seen: list[int] = []
        self.memory = {"mean": torch.zeros(3)}
        self.source = torch.Generator().manual_seed(0)
        self.register_buffer("buffer", torch.zeros(3))
        self.register_buffer("whole", torch.zeros(4, 3))
        self._keep = keep

    def forward(self, x: Tensor) -> Tensor:
        self._keep(self)
        return self.net(x)


@pytest.mark.parametrize(
    ("keep", "name"),
    [
        (lambda net: net.seen.append(1), "seen"),
        (lambda net: net.memory["mean"].add_(1), "memory"),
        (lambda net: torch.rand(1, generator=net.source), "source"),
        (kept(lambda net: net.whole[1]), "buffer"),
        (kept(lambda net: torch.zeros(4, 3)[1]), "buffer"),
        (kept(lambda net: 2 * net.net.bias), "buffer"),
    ],
    ids=["list", "tensor", "generator", "a part of another", "a view", "a graph"],
)
def test_what_a_network_keeps_in_hiding_is_told_and_nothing_is_saved(
    keep: Callable[[Keeping], None], name: str, tmp_path: Path
) -> None:
    said: list[str] = []
    stats = condcli.probe(
        Keeping(keep), DATA(), save=tmp_path / "s", save_every=0, notice=said.append
    )
    assert list(stats.layers) == ["net"]
    assert not (tmp_path / "s").exists()
    (line,) = said
    assert line.startswith("warning: the probe goes on without saving its state: the ")
    assert name in line


def test_a_full_disk_does_not_stop_the_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("condcli.capture.state_file.write", full)
    whole = condcli.probe(plain(), DATA())
    saved = condcli.probe(plain(), DATA(), save=tmp_path / "s", save_every=0, notice=said.append)
    assert_identical(saved, whole)
    (line,) = said
    assert "s: cannot be written (No space left on device)" in line
    assert not list(tmp_path.iterdir())


def test_states_are_saved_when_it_is_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, seen = [0.0], []
    monkeypatch.setattr("condcli.capture.saving.monotonic", lambda: now[0])

    def progress(done: int, total: int) -> None:
        seen.append((tmp_path / "s").exists())
        now[0] += 40

    condcli.probe(plain(), DATA(), save=tmp_path / "s", save_every=100, progress=progress)
    assert seen == [False, False, False, True, True, True]
    assert read_state(tmp_path / "s").done == 5  # of five batches, and before that of two


def test_saving_takes_a_small_part_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, saved = [0.0], []

    def slow(*_: object) -> None:
        saved.append(now[0])
        now[0] += 10

    def progress(done: int, total: int) -> None:
        now[0] += 60

    monkeypatch.setattr("condcli.capture.saving.monotonic", lambda: now[0])
    monkeypatch.setattr("condcli.capture.state_file.write", slow)
    batches = labelled(6, sizes=[3] * 12)()
    condcli.probe(plain(), batches, save=tmp_path / "s", save_every=60, progress=progress)
    assert saved == [120, 370, 620]  # 10 s each, and 20 times as long in between
