"""Merged shards are what one process measures; what does not belong together is refused."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import condcli
from condcli.analysis.merge import NOT_MERGED, merge
from condcli.analysis.shards import whole
from condcli.cli import run
from condcli.errors import InputError
from condcli.stats import LayerStats, ProbeStats, Provenance, SkippedParameter
from tests.capture.parts import NETS, WIDE, assert_same
from tests.capture.test_wide import largest, moment_of, sides
from tests.synthetic import layer, stats, wide

UNKNOWN = ["weight_grad_moment_lambda_max", "weight_grad_moment_note"]


@pytest.mark.parametrize("shards", [2, 3, 5])
@pytest.mark.parametrize("name", NETS)
def test_merged_shards_are_what_one_process_measures(
    name: str, shards: int, tmp_path: Path
) -> None:
    net = NETS[name]
    options = {"dtype": "float64", **net.options}
    files = {}
    for number in range(shards, 0, -1):
        file = tmp_path / f"{number}.h5"
        part = condcli.probe(net.model(), net.batches(), shard=f"{number}/{shards}", **options)
        condcli.write(part, file)
        files[str(file)] = condcli.read(file)
    condcli.write(merge(files), tmp_path / "merged.h5")
    assert_same(condcli.read(tmp_path / "merged.h5"), in_one(name), apart=UNKNOWN)


@cache
def in_one(name: str) -> ProbeStats:
    """What one process measures."""
    net = NETS[name]
    return condcli.probe(net.model(), net.batches(), **{"dtype": "float64", **net.options})


@pytest.mark.parametrize("shards", [2, 5])
@pytest.mark.parametrize("name", WIDE)
def test_what_stands_for_wide_moments_is_merged(name: str, shards: int, tmp_path: Path) -> None:
    """Rows come together exactly; sketches are as far off as they say."""
    net = WIDE[name]
    options = {"dtype": "float64", **net.options}
    files = {}
    for number in range(1, shards + 1):
        part = condcli.probe(net.model(), net.batches(), shard=f"{number}/{shards}", **options)
        condcli.write(part, tmp_path / f"{number}.h5")
        files[str(number)] = condcli.read(tmp_path / f"{number}.h5")
    condcli.write(merge(files), tmp_path / "merged.h5")
    merged = condcli.read(tmp_path / "merged.h5")
    whole = condcli.probe(net.model(), net.batches(), **options | {"max_dim": 100})
    for layer_name, one, side in sides(whole):
        other, expected = merged.layers[layer_name], moment_of(one, side)
        error, size = getattr(other, f"{side}_error"), largest(expected)
        assert largest(expected - moment_of(other, side)) <= (error or 0) + 1e-12 * size
        if error is not None:
            assert (error == 0) == (name == "kept rows")
            trace = np.trace(expected, axis1=-2, axis2=-1).sum()
            assert getattr(other, f"{side}_trace") == pytest.approx(trace, rel=1e-12)


def test_shards_of_which_not_all_have_a_moment_are_refused() -> None:
    own = {"shard": "1/2", "examples": 50, "whole_examples": 100, "parameters": 14}
    grad = {"weight_grad": np.zeros((2, 6)), "weight_shape": (2, 6), "parameters": 14}
    first = stats(layer("fc", np.eye(6), **grad), **own)
    second = stats(wide("fc", **grad), **own | {"shard": "2/2"})
    with pytest.raises(InputError, match="'fc': not all shards have its input_moment"):
        merge({"a.h5": first, "b.h5": second}).layers["fc"]


def test_what_shards_cannot_tell_is_left_out_with_the_reason() -> None:
    net = NETS["regression"]
    merged = merge({n: condcli.probe(net.model(), net.batches(), shard=n) for n in ("1/2", "2/2")})
    for item in merged.layers.values():
        assert item.weight_grad_moment_lambda_max is None
        assert item.weight_grad_moment_note == NOT_MERGED


def shard(number: int, of: int = 2, **changes: Any) -> Provenance:
    values = {"shard": f"{number}/{of}", "examples": 50, "whole_examples": 50 * of}
    return stats(**values | changes).provenance


UNEQUAL = {
    "condcli_version": "0.2.0",
    "torch_version": "2.11.0",
    "model_sha256": "ef" * 32,
    "arch": "cnn",
    "dropout": True,
    "parameters": 2,
    "data_source": "mnist",
    "normalize": "mean 1, std 1",
    "loss_name": "mse",
    "fisher": "mc",
    "conv": "patches",
    "norm": "running",
    "dtype": "float32",
    "autocast": "bfloat16",
    "seed": 1,
    "batch_size": 51,
    "step": 3,
    "whole_examples": 101,
    "shard": "2/3",
    "accuracy": None,
    "ignore_label": 7,
    "per_example": "all",
    "selected": "fc*, not head",
    "max_dim": 7,
    "mc_samples": 3,
}
MAY_DIFFER = {
    "created",
    "command",
    "model_source",
    "device",
    "data_sha256",
    "examples",
    "loss_terms",
    "loss",
    "chance",
    "pass_seconds",
    "peak_memory_bytes",
    "label_counts",
    "columns",
}


@pytest.mark.parametrize("name", [item.name for item in fields(Provenance)])
def test_a_field_that_differs_is_refused_with_both_files_and_values(name: str) -> None:
    first = shard(1)
    if name in MAY_DIFFER:
        return
    shards = {"a.h5": first, "b.h5": replace(shard(2), **{name: UNEQUAL[name]})}
    with pytest.raises(InputError, match=rf"a\.h5 and b\.h5 .*{name} is .* and ") as refused:
        whole(shards, command="")
    assert str(getattr(first, name)) in str(refused.value)
    assert str(UNEQUAL[name]) in str(refused.value)


@pytest.mark.parametrize(
    ("shards", "words"),
    [
        ({"a.h5": shard(1), "b.h5": shard(1)}, "a.h5 and b.h5 are both shard 1/2"),
        ({"a.h5": shard(3, 4), "b.h5": shard(1, 4)}, "shard 2/4, 4/4 of digits"),
        ({"a.h5": stats().provenance}, "a.h5: is no shard"),
        ({"a.h5": shard(1), "b.h5": shard(2, examples=49)}, "have 99 of 100 examples"),
    ],
)
def test_a_set_that_is_not_whole_is_refused(shards: dict[str, Provenance], words: str) -> None:
    with pytest.raises(InputError, match=words):
        whole(shards, command="")


def test_what_is_counted_is_added_and_what_ran_side_by_side_is_not() -> None:
    first = shard(1, accuracy=1.0, loss=2.0, label_counts=(10, 40), pass_seconds=9.0)
    second = shard(2, accuracy=0.5, loss=1.0, loss_terms=50, label_counts=(20, 30), device="cuda:0")
    together = whole({"a": first, "b": second}, command="condcli merge")
    assert (together.examples, together.loss_terms) == (100, 150)
    assert together.accuracy == pytest.approx((100 + 25) / 150)
    assert together.loss == pytest.approx(5 / 3)
    assert together.chance == pytest.approx(70 / 150)
    assert together.pass_seconds == 9.0
    assert together.device == "cpu, cuda:0"
    assert (together.shard, together.command) == ("", "condcli merge")


def parted(reason: str) -> dict[str, ProbeStats]:
    """The layer fc2 is skipped in the first shard, for this reason."""
    first, second = (
        layer(n, parameters=p, weight_grad=layer().grad_moment, first_place=0, order=i)
        for i, (n, p) in enumerate([("fc1", 8), ("fc2", 12337)])
    )
    item = SkippedParameter(
        name="fc2", kind="Linear", shape=(2, 3), parameters=12337, reason=reason
    )

    def of(number: int, *layers: LayerStats, **more: Any) -> ProbeStats:
        made = stats(*layers, **more)
        return replace(made, provenance=shard(number))

    return {"a": of(1, first, skipped=(item,)), "b": of(2, first, second)}


def test_a_layer_that_did_not_run_in_one_shard_is_measured_from_the_others() -> None:
    merged = merge(parted("did not run"))
    assert list(merged.layers) == ["fc1", "fc2"]
    assert merged.layers["fc1"].rows == 2000
    assert merged.layers["fc2"].rows == 1000
    assert not merged.skipped


def test_a_layer_that_one_shard_saw_in_part_is_skipped() -> None:
    merged = merge(parted("gradients reached only 1 of its 2 calls"))
    assert list(merged.layers) == ["fc1"]
    assert list(merged.skipped) == ["fc2"]


def test_layers_that_do_not_add_up_to_the_model_are_refused() -> None:
    parts = parted("did not run")
    parts["a"].skipped.clear()  # type: ignore[attr-defined]
    parts["b"].layers.pop("fc2")  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="have 8 of the model's 12345 parameters"):
        merge(parts)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    net = NETS["regression"]
    for name, number in (("a.h5", "1/2"), ("b.h5", "2/2")):
        condcli.write(condcli.probe(net.model(), net.batches(), shard=number), name)
    return ["a.h5", "b.h5"]


def test_the_command_writes_a_file_and_says_what_is_in_it(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["merge", *files, "-o", "all.h5"]) == 0
    printed = capsys.readouterr()
    assert "merged" in printed.out
    assert "17 examples" in printed.out
    assert printed.err == ""
    assert condcli.read("all.h5").provenance.shard == ""
    assert run(["inspect", "all.h5"]) == 0
    assert run(["domination", "a.h5"]) == 0
    assert "(shard 1/2 of 17)" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("a.h5 a.h5 -o all.h5", 2, "a.h5 is given twice"),
        ("a.h5 -o all.h5", 3, "shard 2/2"),
        ("a.h5 b.h5 -o b.h5 --force", 5, "b.h5: is also an input"),
        ("a.h5 gone.h5 -o all.h5", 3, "gone.h5: cannot be opened"),
    ],
)
def test_the_command_refuses_in_one_line_and_writes_nothing(
    arguments: str,
    code: int,
    words: str,
    files: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept = [Path(file).read_bytes() for file in files]
    assert run(["merge", *arguments.split()]) == code
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert not Path("all.h5").exists()
    assert [Path(file).read_bytes() for file in files] == kept
