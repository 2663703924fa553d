"""``condcli report``: what it writes, what it leaves alone, and what it refuses."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from condcli.cli import run
from condcli.statsfile import read, write
from tests.commands.conftest import sample
from tests.commands.test_errors import fails
from tests.commands.test_startup import HEAVY, loaded_by
from tests.output.page.test_document import Elements
from tests.synthetic import activation, layer, stats


def data_of(page: Path) -> Any:
    """What the page shows."""
    [(_, text)] = [
        found
        for found in Elements(page.read_text(encoding="utf-8")).named("script")
        if found[0].get("id") == "data"
    ]
    return json.loads(text)


def shown(*arguments: str) -> Any:
    """The data of the page that the command writes."""
    assert run(["report", *arguments, "-o", "page.html", "--force"]) == 0
    return data_of(Path("page.html"))


def test_the_page_holds_the_numbers_of_the_tables(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = shown(str(file))
    assert [item["name"] for item in page["layers"]] == [
        "fc1",
        "blocks.0.[/bold]\\x1b[31m.a_very_long_module_path.depthwise",
        "dead",
        "head",
    ]
    [step] = page["steps"]
    assert (step["step"], step["file"], step["loss"]) == (1200, "stats.h5", 0.25)
    for command, table in step["tables"].items():
        capsys.readouterr()
        assert run([command, str(file), "--format", "json"]) == 0
        rows = json.loads(capsys.readouterr().out)["rows"]
        names = [heading["name"] for heading in page["headings"][command]]
        assert list(table) == names[1:]
        for name in names[1:]:
            assert len(table[name]) == len(rows)
            for cell, row in zip(table[name], rows, strict=True):
                if isinstance(row.get(name), float):
                    assert cell == pytest.approx(row[name], rel=5e-4)
                elif isinstance(row.get(name), bool | int | None) and name in row:
                    assert cell == row[name]
    kappas = step["tables"]["spectrum"]["kappa_input_100"]
    assert kappas[0] == "> 6.9e5"  # a bound, as in the terminal
    assert kappas[2] is None  # every eigenvalue is zero
    assert kappas[3] == pytest.approx(5 / 3, rel=1e-3)


def test_the_curves_are_the_eigenvalues_that_spectrum_prints(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = shown(str(file))
    capsys.readouterr()
    assert run(["spectrum", str(file), "--eigenvalues", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    for place, name in enumerate(read(file).layers):
        for matrix in ("input", "grad"):
            found = page["steps"][0]["curves"][place][matrix]
            expected = sorted(
                (row["eigenvalue"] if row["resolved"] else 0.0)
                for row in rows
                if (row["layer"], row["matrix"]) == (name, matrix)
            )[::-1]
            assert page["places"][str(found["size"])] == list(range(len(expected)))
            assert [value or 0.0 for value in found["values"]] == pytest.approx(expected, rel=5e-4)


def test_stdout_has_one_line_and_quiet_none(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(file), "-o", "page.html"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("page.html: 4 linear maps, 1 step, 0.1")
    assert (printed.out.count("\n"), printed.err) == (1, "")
    assert run(["--quiet", "report", str(file), "-o", "page.html", "--force"]) == 0
    assert capsys.readouterr().out == ""


def test_the_title_is_as_told_or_the_model_and_its_data(file: Path) -> None:
    for options, expected in (([], "net.pt on digits"), (["--title", "<A> & B"], "<A> & B")):
        assert run(["report", str(file), "-o", "page.html", "--force", *options]) == 0
        [(_, title)] = Elements(Path("page.html").read_text(encoding="utf-8")).named("title")
        assert title == expected


def test_what_stands_there_is_replaced_only_by_force_and_inputs_never(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("page.html").write_text("mine", encoding="utf-8")
    assert "already exists" in fails(capsys, ["report", str(file), "-o", "page.html"], 5)
    assert Path("page.html").read_text(encoding="utf-8") == "mine"
    before = file.read_bytes()
    line = fails(capsys, ["report", str(file), "-o", str(file), "--force"], 5)
    assert line.startswith("stats.h5: is also an input")
    line = fails(capsys, ["report", ".", "-o", str(file), "--force"], 5)
    assert line.startswith("stats.h5: is also an input")
    assert file.read_bytes() == before


def test_a_failure_leaves_nothing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.truncate(file, file.stat().st_size // 2)
    fails(capsys, ["report", str(file), "-o", "page.html"], 3)
    assert sorted(os.listdir()) == ["stats.h5"]
    Path("empty").mkdir()
    line = fails(capsys, ["report", "empty", "-o", "page.html"], 3)
    assert line.startswith("empty holds no statistics file")


def test_the_steps_of_a_run_are_in_order_and_hold_what_changed(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for step in (1000, 20, 300):
        moment = np.diag([step, 1.0, 0.5])
        layers = (layer("a", moment), layer("b", order=1))
        write(
            stats(*layers, activations=(activation(),), step=step, loss=1 / step),
            folder / f"{step}.h5",
        )
    page = shown("run")
    assert [step["step"] for step in page["steps"]] == [20, 300, 1000]
    assert [step["loss"] for step in page["steps"]] == [0.05, 0.003333, 0.001]
    first, *others = [step["tables"]["spectrum"] for step in page["steps"]]
    assert first["lambda_max_input"] == [20, 4]
    for table, step in zip(others, (300, 1000), strict=True):
        assert table["lambda_max_input"] == [step, 4]
        assert "d_in" not in table  # as at first
    assert all(step["curves"] for step in page["steps"])
    capsys.readouterr()
    assert run(["dynamics", "run"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert page["turning"]
    for when, what in page["turning"]:
        assert f"{when} {what}" in told


def test_files_of_two_networks_are_refused_with_their_names(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(replace(sample(), layers={"fc1": layer("fc1")}), Path("other.h5"))
    line = fails(capsys, ["report", str(file), "other.h5", "-o", "page.html"], 3)
    assert "stats.h5" in line
    assert "other.h5" in line
    assert not Path("page.html").exists()


def test_what_is_not_finite_is_null(file: Path) -> None:
    broken = layer(
        "broken",
        np.full((3, 3), np.nan),
        nonfinite="input moment, since batch 0",
        weight_singular_values=np.array([np.nan, np.nan]),
        weight_norm=np.nan,
    )
    write(stats(broken, layer("fine", order=1), loss=np.nan, accuracy=None), file, force=True)
    page = shown(str(file))
    [step] = page["steps"]
    assert (step["loss"], step["accuracy"]) == (None, None)
    assert step["tables"]["spectrum"]["lambda_max_input"] == [None, 4]
    assert step["tables"]["domination"]["sigma_max_weight"] == [None, 2]
    assert step["curves"][0]["input"]["values"] == [None, None, None]


def test_a_file_without_layers_makes_a_page(file: Path) -> None:
    write(stats(), file, force=True)
    page = shown(str(file))
    assert (page["layers"], page["activations"], page["places"]) == ([], [], {})


def test_layers_with_endless_names_take_no_more_room_than_others(file: Path) -> None:
    layers = [layer("x" * 9990 + str(place), order=place) for place in range(100)]
    write(stats(*layers), file, force=True)
    page = shown(str(file))
    assert len({item["name"] for item in page["layers"]}) == 100
    assert max(len(item["name"]) for item in page["layers"]) < 300
    assert Path("page.html").stat().st_size < 250_000


def test_it_needs_no_torch(file: Path, tmp_path: Path) -> None:
    loaded = loaded_by("report", str(file.absolute()), "-o", str(tmp_path / "page.html"))
    assert loaded.isdisjoint(HEAVY)
