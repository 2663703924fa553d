"""What is exported, read back by each form's own reader, is what the points hold."""

from __future__ import annotations

import csv
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from math import inf, isnan
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from condcli.analysis.condition import ConditionNumber
from condcli.commands import export as command
from condcli.errors import CannotFinishError, UsageError
from condcli.output.export import FOLDERS, WRITERS, Form, export
from condcli.statsfile import write
from tests.runs import points, stats_at

ODD = "conv,1\x1b\ud800 ∇"
ESCAPED = "conv,1\\x1b\\ud800 ∇"
BOUND = ConditionNumber(value=None, lower_bound=1e7, rank=1, size=2)
RUN = points(
    [0, 250, 1000],
    {
        ODD: {"ratio": [0.5, None, 1e-60], "kappa": [3.0, BOUND, inf]},
        "fc": {"weight_norm": [1.0, 2.0, 1 / 3]},
    },
    {"relu": {"dying": [0.0, 0.25, None]}},
    loss=[2.3, None, 0.1],
)
EXPECTED: dict[tuple[int, str, str], float | None] = {
    (0, "network", "loss"): 2.3,
    (250, "network", "loss"): None,
    (0, ESCAPED, "ratio"): 0.5,
    (250, ESCAPED, "ratio"): None,
    (1000, ESCAPED, "ratio"): 1e-60,
    (0, ESCAPED, "kappa"): 3.0,
    (250, ESCAPED, "kappa"): 1e7,
    (1000, ESCAPED, "kappa"): inf,
    (1000, "fc", "weight_norm"): 1 / 3,
    (250, "relu", "dying"): 0.25,
    (1000, "relu", "dying"): None,
    (0, "relu", "saturated"): None,
}
ROWS = 3 * (2 + 2 * 12 + 3)  # steps × (network + layers × numbers + activation)


def test_csv(tmp_path: Path) -> None:
    file = export(RUN, "csv", tmp_path / "run.csv")
    with file.open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    found = {
        (int(row["step"]), row["name"], row["metric"]): float(row["value"])
        if row["value"]
        else None
        for row in rows
    }
    assert len(rows) == len(found) == ROWS
    assert {key: found[key] for key in EXPECTED} == EXPECTED
    assert {row["owner"] for row in rows} == {"network", "layer", "activation"}
    bounds = [(row["step"], row["metric"]) for row in rows if row["lower_bound"] == "True"]
    assert bounds == [("250", "kappa")]


def test_parquet(tmp_path: Path) -> None:
    from pyarrow import parquet

    table = parquet.read_table(export(RUN, "parquet", tmp_path / "run.parquet"))
    rows = table.to_pylist()
    found = {(row["step"], row["name"], row["metric"]): row["value"] for row in rows}
    assert len(rows) == len(found) == ROWS
    assert {key: found[key] for key in EXPECTED} == EXPECTED
    assert [row["step"] for row in rows if row["lower_bound"]] == [250]
    assert table.schema.names == ["step", "owner", "name", "metric", "value", "lower_bound"]


def test_npz(tmp_path: Path) -> None:
    with np.load(export(RUN, "npz", tmp_path / "run.npz"), allow_pickle=False) as arrays:
        assert arrays["steps"].tolist() == [0, 250, 1000]
        assert arrays["layers"].tolist() == [ESCAPED, "fc"]
        assert arrays["activations"].tolist() == ["relu"]
        names = {"network": None, ESCAPED: 0, "fc": 1, "relu": 0}
        for (step, name, metric), value in EXPECTED.items():
            array = arrays[metric][[0, 250, 1000].index(step)]
            found = array if names[name] is None else array[names[name]]
            assert isnan(found) if value is None else found == value
        assert arrays["kappa_is_lower_bound"].tolist() == [
            [False, False],
            [True, False],
            [False, False],
        ]
        assert arrays["loss"].shape == (3,)
        assert arrays["ratio"].shape == (3, 2)


def test_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    export(RUN, "tensorboard", tmp_path / "logs")
    shown = EventAccumulator(str(tmp_path / "logs")).Reload()
    tags = shown.Tags()["scalars"]
    assert {"loss", f"ratio/{ESCAPED}", "weight_norm/fc", "dying/relu"} <= set(tags)
    assert "saturated/relu" not in tags
    for (step, name, metric), value in EXPECTED.items():
        found = f"{metric}/{name}" if name != "network" else metric
        values = {e.step: e.value for e in shown.Scalars(found)} if found in tags else {}
        assert values.get(step) == (None if value is None else np.float32(value))
    wall = {e.wall_time for e in shown.Scalars("weight_norm/fc")}
    assert wall == {1735787045.0}  # 2025-01-02T03:04:05+00:00, when it was probed


@pytest.fixture(scope="module")
def offline_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command line writes for Weights & Biases, where there is no network at all."""
    folder = tmp_path_factory.mktemp("wandb")
    (folder / "run").mkdir()
    for step in (0, 100):
        write(stats_at(step), folder / f"run/{step}.h5")
    without_network = ["unshare", "-rn"] if can_unshare() else []
    command = ["-m", "condcli", "export", "run", "--to", "wandb-offline", "-o", "out"]
    done = subprocess.run(
        [*without_network, sys.executable, *command],
        cwd=folder,
        env={**os.environ, "HOME": str(folder / "home"), "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "condcli: note: steps are the checkpoints' own\n"
    return folder


def can_unshare() -> bool:
    tool = shutil.which("unshare")
    return tool is not None and subprocess.run([tool, "-rn", "true"], check=False).returncode == 0


def test_wandb(offline_run: Path) -> None:
    (folder,) = (offline_run / "out").iterdir()
    assert folder.name.startswith("offline-run-")
    (file,) = folder.glob("*.wandb")
    history: dict[int, dict[str, Any]] = {}
    for record in wandb_records(file.read_bytes()):
        if record.WhichOneof("record_type") == "history":
            found = {
                item.key or "/".join(item.nested_key): json.loads(item.value_json)
                for item in record.history.item
            }
            history[found["_step"]] = found
    assert sorted(history) == [0, 100]
    assert history[0]["loss"] == 2.3
    assert history[100]["loss"] == 2.3 * 0.7
    assert history[100]["weight_norm/fc2"] == 2.0
    assert history[0]["lambda_max_input/fc1"] == pytest.approx(4.0)
    assert history[0]["dying/relu"] == 0.0


def test_wandb_leaves_nothing_else(offline_run: Path) -> None:
    assert {path.name for path in offline_run.iterdir()} == {"run", "out"}
    (run,) = (offline_run / "out").iterdir()
    assert sorted(path.suffix for path in run.iterdir()) == ["", ".wandb"]


def wandb_records(content: bytes) -> Iterator[Any]:
    """The records of a log: blocks of 32 KiB, in them pieces with checksum, length and type."""
    from wandb.proto.wandb_internal_pb2 import Record

    assert content[:4] == b":W&B"
    source, whole = BytesIO(content), b""
    source.seek(7)
    while source.tell() < len(content):
        left = 32768 - source.tell() % 32768
        if left < 7:
            source.read(left)
            continue
        _, length, kind = struct.unpack("<IHB", source.read(7))
        whole += source.read(length)
        if kind in (1, 4):  # whole, or the last piece
            yield Record.FromString(whole)
            whole = b""


@pytest.mark.parametrize("form", ["csv", "npz", "parquet", "tensorboard"])
def test_the_same_run_gives_the_same_bytes_and_is_replaced_only_when_told(
    form: Any, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    file = export(RUN, form, output)
    before = file.read_bytes()
    with pytest.raises(CannotFinishError, match="already exists; pass --force"):
        export(RUN, form, output)
    export(points([1]), form, output, force=True)
    assert file.read_bytes() != before
    export(RUN, form, output, force=True)
    assert file.read_bytes() == before
    assert not list(tmp_path.glob("**/*.tmp"))


@pytest.mark.parametrize("form", ["csv", "npz", "parquet", "tensorboard"])
def test_a_network_without_layers_is_exported(form: Any, tmp_path: Path) -> None:
    assert export(points([0, 1]), form, tmp_path / "out").stat().st_size > 0


@pytest.mark.parametrize(
    ("form", "module", "extra"),
    [
        ("parquet", "pyarrow", "tables"),
        ("tensorboard", "tensorboard.summary.writer.record_writer", "tensorboard"),
        ("wandb-offline", "wandb", "wandb"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(
    form: Any, module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    library = module.partition(".")[0]
    with pytest.raises(UsageError, match=rf"needs the library {library}; .*condcli\[{extra}\]"):
        export(RUN, form, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", sorted(FOLDERS))
def test_a_folder_that_cannot_be_made_is_named(form: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "nowhere" / "out"):
        with pytest.raises(CannotFinishError, match=f"{place}: the folder cannot be made"):
            export(RUN, form, place)


def test_the_command_offers_every_form() -> None:
    offered = get_args(get_args(command.Form)[0])
    assert set(WRITERS) == set(offered) == set(get_args(Form))
    assert set(WRITERS) > FOLDERS
