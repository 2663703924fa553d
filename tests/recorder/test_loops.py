"""Mixed precision, accumulation, clipping, compiled networks, several processes, wrong loops."""

from __future__ import annotations

import warnings
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as multiprocessing
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import condcli
from condcli.api import probe
from condcli.errors import CannotFinishError, InputError, UsageError
from tests.capture.cases import labelled

from .loops import assert_layers_agree, batches, mlp, network, record_once, step_file
from .ranks import train


def data(examples: int = 12) -> tuple[Tensor, Tensor]:
    return labelled(6, sizes=[examples])()[0]


def test_autocast_with_a_grad_scaler_and_clipping(tmp_path: Path) -> None:
    model, (x, y) = mlp(), data()
    expected = probe(deepcopy(model), (x, y), autocast="bfloat16")
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**13)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with condcli.Recorder(model, tmp_path) as recorder, recorder.step():
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    stats = step_file(tmp_path, 0)
    assert stats.provenance.autocast == "bfloat16"
    # bfloat16 has eight bits, and the scaled gradients are rounded to them in another place
    assert_layers_agree(stats, expected, tolerance=2e-2)
    assert stats.layers["0"].weight_grad_norm > 1e-2


def test_float16_is_told(tmp_path: Path) -> None:
    model, (x, y) = mlp(), data()
    with condcli.Recorder(model, tmp_path) as recorder, recorder.step():
        with torch.autocast("cpu", torch.float16):
            loss = F.cross_entropy(model(x), y)
        (loss * 1024).backward()
    stats = step_file(tmp_path, 0)
    assert (stats.provenance.autocast, stats.provenance.dtype) == ("float16", "float32")
    expected = probe(deepcopy(model), (x, y))
    assert_layers_agree(stats, expected, tolerance=5e-3)


def test_a_network_in_bfloat16_is_measured_in_float32(tmp_path: Path) -> None:
    model, (x, y) = mlp().bfloat16(), data()
    stats = record_once(model, tmp_path / "run", [(x.bfloat16(), y)])
    assert (stats.provenance.autocast, stats.provenance.dtype) == ("bfloat16", "float32")
    expected = probe(deepcopy(model).float(), (x, y))
    assert_layers_agree(stats, expected, tolerance=3e-2)
    assert stats.provenance.model_sha256 == probe(model, (x, y)).provenance.model_sha256


def test_a_step_that_overflows_is_made_up_for_by_the_next(tmp_path: Path) -> None:
    """Under a loss scale that is too large, a GradScaler leaves the step out, and so do we."""
    model, (x, y) = mlp(), data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**126, backoff_factor=2.0**-60)
    with condcli.Recorder(model, tmp_path, every=3) as recorder:
        for _ in range(5):
            with recorder.step():
                loss = F.cross_entropy(model(x), y) * 1e3
                scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step_00000001.h5",
        "step_00000003.h5",
    ]
    assert step_file(tmp_path, 1).layers["0"].nonfinite is None


def test_what_is_not_finite_by_itself_is_kept_and_flagged(tmp_path: Path) -> None:
    model, (x, y) = mlp(), data()
    x[3] = torch.nan
    stats = record_once(model, tmp_path, [(x, y)])
    assert "inputs" in str(stats.layers["0"].nonfinite)


def test_gradients_that_were_there_before_do_not_count(tmp_path: Path) -> None:
    model, (x, y) = mlp().double(), data()
    expected = probe(deepcopy(model), (x, y), dtype="float64")
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    stats = record_once(model, tmp_path, [(x.double(), y)])
    assert_layers_agree(stats, expected, tolerance=1e-10)


def test_a_step_of_several_batches_is_all_of_them(tmp_path: Path) -> None:
    model, pieces = network().double(), batches(4)
    pieces = [(x.double(), y) for x, y in pieces]
    expected = probe(deepcopy(model), pieces[2:], dtype="float64")
    with condcli.Recorder(model, tmp_path, every=2, accumulate=2, first=3) as recorder:
        for x, y in pieces:  # steps 3 and 4
            with recorder.step():
                (F.cross_entropy(model(x), y) / 2).backward()
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000004.h5"]
    stats = step_file(tmp_path, 4)
    assert_layers_agree(stats, expected, tolerance=1e-10)
    assert stats.provenance.data_sha256 == expected.provenance.data_sha256
    assert (stats.provenance.examples, stats.provenance.batch_size) == (16, 8)


def test_a_function_chooses_the_steps(tmp_path: Path) -> None:
    model, (x, y) = mlp(), data()
    powers = {0, 1, 2, 4}
    with condcli.Recorder(model, tmp_path, every=powers.__contains__, background=False) as recorder:
        for _ in range(6):
            with recorder.step():
                F.cross_entropy(model(x), y).backward()
    assert {condcli.read(path).provenance.step for path in tmp_path.iterdir()} == powers


def test_files_finished_beside_the_training_are_of_their_own_step(tmp_path: Path) -> None:
    """The weights change while the file is made."""
    folders = [tmp_path / "beside", tmp_path / "at once"]
    for folder in folders:
        model, (x, y) = mlp(), data()
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        with condcli.Recorder(model, folder, every=1, background="beside" in str(folder)) as it:
            for _ in range(8):
                with it.step():
                    F.cross_entropy(model(x), y).backward()
                optimizer.step()
                optimizer.zero_grad()
    for number in range(8):
        beside, at_once = (step_file(folder, number) for folder in folders)
        assert beside.provenance.model_sha256 == at_once.provenance.model_sha256
        assert_layers_agree(beside, at_once, tolerance=0)


def test_the_precision_of_products_is_the_trainings_own(tmp_path: Path) -> None:
    """Moments are summed in full precision, and the setting is not touched for long."""
    model, (x, y) = mlp(), data()
    expected = probe(deepcopy(model), (x, y))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    seen = []
    model[1].register_forward_hook(lambda *_: seen.append(torch.get_float32_matmul_precision()))
    try:
        with condcli.Recorder(model, tmp_path, every=1) as recorder:
            for _ in range(2):
                with recorder.step():
                    F.cross_entropy(model(x), y).backward()
        assert [*seen, torch.get_float32_matmul_precision()] == ["medium"] * 3
    finally:
        torch.set_float32_matmul_precision(before)
    assert_layers_agree(step_file(tmp_path, 1), expected, tolerance=1e-2)


class Checkpointed(nn.Module):
    """Its first block runs again in the backward pass."""

    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.block, self.head = mlp(), nn.Linear(3, 3)
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        return self.head(checkpoint(self.block, x, use_reentrant=self.reentrant))


def test_a_block_that_runs_again_in_the_backward_counts_once(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, (x, y) = Checkpointed(reentrant=False).double(), data()
    expected = probe(deepcopy(model), (x, y), dtype="float64")
    stats = record_once(model, tmp_path, [(x.double(), y)])
    assert_layers_agree(stats, expected, tolerance=1e-10)


def test_a_block_without_a_graph_is_skipped(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, (x, y) = Checkpointed(reentrant=True), data()
    stats = record_once(model, tmp_path, [(x.requires_grad_(), y)])
    assert [*stats.layers] == ["head"]
    assert "use_reentrant" in stats.skipped["block.0"].reason


def test_a_compiled_network_is_refused_unless_it_may_run_uncompiled(tmp_path: Path) -> None:
    model, (x, y) = mlp().double(), data()
    expected = probe(deepcopy(model), (x, y), dtype="float64")
    compiled = torch.compile(model, backend="eager")
    with pytest.raises(UsageError, match="compiled") as caught:
        condcli.Recorder(compiled, tmp_path)
    assert "eager=True" in caught.value.remedy
    with condcli.Recorder(compiled, tmp_path, eager=True, every=2) as recorder:
        for _ in range(3):
            with recorder.step():
                F.cross_entropy(compiled(x.double()), y).backward()
    for number in (0, 2):
        assert_layers_agree(step_file(tmp_path, number), expected, tolerance=1e-10)


def test_networks_in_pieces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="in pieces or in copies"):
        condcli.Recorder(nn.DataParallel(mlp()), tmp_path)
    meta = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="meta"))
    with pytest.raises(UsageError, match="2 devices"):
        condcli.Recorder(meta, tmp_path)


def test_several_processes_are_one(tmp_path: Path) -> None:
    multiprocessing.spawn(train, args=(str(tmp_path),), nprocs=2)
    pieces = labelled(6, sizes=[4, 4])()
    whole = (torch.cat([x for x, _ in pieces]), torch.cat([y for _, y in pieces]))
    expected = probe(mlp().double(), (whole[0].double(), whole[1]), dtype="float64")
    stats = step_file(tmp_path / "run", 0)
    assert_layers_agree(stats, expected, tolerance=1e-10)
    for field in ("data_sha256", "model_sha256", "examples", "accuracy"):
        assert getattr(stats.provenance, field) == getattr(expected.provenance, field), field


def stepped(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    loss.backward()
    optimizer.step()


def test_a_loop_that_is_not_as_it_should_be_is_told_at_once(tmp_path: Path) -> None:
    model, (x, y) = mlp(), data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = condcli.Recorder(model, tmp_path, every=1)
    with pytest.raises(InputError, match="no loss went backward"), recorder.step():
        F.cross_entropy(model(x), y)
    with pytest.raises(UsageError, match="the weights changed"), recorder.step():
        stepped(optimizer, F.cross_entropy(model(x), y))
    with pytest.raises(InputError, match="was not called"), recorder.step():
        F.cross_entropy(model[2](model[1](model[0](x))), y).backward()
    with recorder.step(examples=len(x)):
        F.cross_entropy(model[2](model[1](model[0](x))), y).backward()
    recorder.close()
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000003.h5"]
    assert not [*tmp_path.glob(".condcli*")]


def test_after_the_first_record_a_training_goes_on_whatever_happens(tmp_path: Path) -> None:
    model, (x, y) = mlp(), data()
    recorder = condcli.Recorder(model, tmp_path, every=1)
    with recorder.step():
        F.cross_entropy(model(x), y).backward()
    with pytest.warns(RuntimeWarning, match="step 1 was not recorded: no loss"), recorder.step():
        model(x)
    (tmp_path / "step_00000002.h5").touch()  # by someone else, meanwhile
    with recorder.step():
        F.cross_entropy(model(x), y).backward()
    with pytest.warns(RuntimeWarning, match="step 2 was not recorded: .*already exists"):
        recorder.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with recorder.step():
            F.cross_entropy(model(x), y).backward()
        recorder.close()
    assert step_file(tmp_path, 3).provenance.step == 3


def test_the_files_of_another_run_are_not_written_over(tmp_path: Path) -> None:
    record_once(mlp(), tmp_path, [data()])
    with pytest.raises(CannotFinishError, match=r"step_00000000\.h5 of another run"):
        condcli.Recorder(mlp(), tmp_path)
    condcli.Recorder(mlp(), tmp_path, first=1).close()
    before = (tmp_path / "step_00000000.h5").read_bytes()
    record_once(mlp(), tmp_path, [data(5)], force=True)
    assert (tmp_path / "step_00000000.h5").read_bytes() != before
    (tmp_path / "file").touch()
    with pytest.raises(CannotFinishError, match="cannot be made"):
        condcli.Recorder(mlp(), tmp_path / "file")


@pytest.mark.parametrize("option", ["conv", "per_example"])
def test_an_option_that_does_not_exist_is_refused(option: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="odd"):
        condcli.Recorder(mlp(), tmp_path / "run", **{option: "odd"})
    with pytest.raises(UsageError, match="count from 1"):
        condcli.Recorder(mlp(), tmp_path / "run", every=0)
    assert not (tmp_path / "run").exists()


def test_chosen_layers_alone_are_measured(tmp_path: Path) -> None:
    stats = record_once(mlp(), tmp_path, [data()], layers=["2"])
    assert [*stats.layers] == ["2"]
    assert "left out" in stats.skipped["0"].reason


class Scalars:
    """What a SummaryWriter does, noted."""

    def __init__(self) -> None:
        self.seen: dict[tuple[str, int], float] = {}

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        self.seen[tag, global_step] = scalar_value


def test_a_writer_gets_the_numbers_of_each_layer(tmp_path: Path) -> None:
    model, (x, y) = mlp(), data()
    writer = Scalars()
    with condcli.Recorder(model, tmp_path, every=2, writer=writer) as recorder:
        for _ in range(3):
            with recorder.step():
                F.cross_entropy(model(x), y).backward()
    stats = step_file(tmp_path, 2)
    moment = stats.layers["0"].input_moment
    largest = np.linalg.eigvalsh(np.float64(moment))[-1]
    assert writer.seen["lambda_max_input/0", 2] == pytest.approx(largest, rel=1e-6)
    weight = np.linalg.svd(model[2].weight.detach().double().numpy(), compute_uv=False)[0]
    assert writer.seen["sigma_max_weight/2", 2] == pytest.approx(weight, rel=1e-9)
    assert {step for _, step in writer.seen} == {0, 2}
    assert 0 <= writer.seen["dying/1", 2] <= 1
    assert np.isfinite([*writer.seen.values()]).all()
