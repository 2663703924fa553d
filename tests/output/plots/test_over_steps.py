"""What is drawn over steps is what each file says of its step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from condcli.analysis import trajectory
from condcli.errors import InputError, UsageError
from condcli.output.plots import over_steps
from condcli.output.plots.drawing import DRAW_RUNS, RUN_NEEDS
from condcli.output.plots.sources import Options, Run, runs_of
from condcli.statsfile import write
from tests.output.plots.artists import drawn, lines, panels, places, texts
from tests.output.plots.networks import network, write_run

STEPS = [0, 10, 20, 30, 40]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, plain/ and bn/."""
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "plain")
    write_run(folder / "bn", fall=0.9)
    return folder


@pytest.fixture(scope="module")
def runs(folder: Path) -> Sequence[Run]:
    return runs_of([folder / "plain", folder / "bn"], None, Options())


def test_a_row_is_a_run_and_a_line_a_layer(runs: Sequence[Run]) -> None:
    figure = drawn(over_steps.magnitude, runs, Options())
    found = panels(figure)
    assert [found[0].get_ylabel(), found[3].get_ylabel()] == ["plain", "bn"]
    assert texts(figure) == ["fc1", "fc2", "fc3", "fc4"]
    for axes, fall in ((found[0], 0.1), (found[3], 0.9)):
        assert places(axes) == [STEPS] * 4
        for k, values in enumerate(lines(axes)):
            np.testing.assert_allclose(values, 8 * (fall * 0.5 ** np.arange(5)) ** k)
    for k, (x, grad, fisher) in enumerate(zip(*map(lines, found[:3]), strict=True)):
        np.testing.assert_allclose(grad, 0.3 * (0.1 * 0.5 ** np.arange(5)) ** (3 - k))
        np.testing.assert_allclose(fisher, x * grad)


def test_runs_are_compared_on_one_scale(runs: Sequence[Run]) -> None:
    found = panels(drawn(over_steps.magnitude, runs, Options()))
    for upper, lower in zip(found[:3], found[3:], strict=True):
        assert upper.get_ylim() == lower.get_ylim()
        assert (upper.get_title() != "") is (lower.get_title() == "")


def test_conditioning_is_that_of_the_percentage(folder: Path) -> None:
    options = Options(percent=50)
    figure = drawn(over_steps.conditioning, runs_of([folder / "bn"], None, options), options)
    x, grad, _ = panels(figure)
    np.testing.assert_allclose(lines(x), np.full((4, 5), 8 / 2))
    np.testing.assert_allclose(lines(grad), np.full((4, 5), 0.3 / 0.2))


def test_figure_1_is_of_the_sub_fim(runs: Sequence[Run]) -> None:
    figure = drawn(over_steps.fisher, runs, Options())
    magnitude, conditioning, *_ = panels(figure)
    assert lines(magnitude)[0][0] == pytest.approx(8 * 0.3 * 0.1**3)
    assert r"\lambda_{\max}" in magnitude.get_title()
    assert r"\kappa_{80\%}" in conditioning.get_title()


def test_figure_7_follows_the_last_layer(runs: Sequence[Run]) -> None:
    figure = drawn(over_steps.last_layer, runs, Options())
    loss, x, gradient, weight = panels(figure)
    assert texts(figure) == ["plain", "bn"]
    np.testing.assert_allclose(lines(loss)[0], 2 * 0.5 ** np.arange(5))
    np.testing.assert_allclose(lines(x)[0], 8 * (0.1 * 0.5 ** np.arange(5)) ** 3)
    np.testing.assert_allclose(lines(gradient), np.full((2, 5), 0.4))
    np.testing.assert_allclose(lines(weight), np.full((2, 5), 5.0))
    assert loss.get_title() == "loss, nats"
    other = panels(drawn(over_steps.last_layer, runs, Options(layers="fc[12]")))
    np.testing.assert_allclose(lines(other[3]), np.full((2, 5), 3.0))


def test_neurons_and_domination_over_steps(runs: Sequence[Run]) -> None:
    dying, full, *_ = panels(drawn(over_steps.neuron_shares, runs, Options()))
    np.testing.assert_allclose(lines(dying), np.array([[0], [1], [2]]) / 8 * np.ones(5))
    np.testing.assert_allclose(lines(full), np.full((3, 5), 2 / 8))
    *_, ratio = panels(drawn(over_steps.weights, runs[:1], Options(threshold=0.5)))
    np.testing.assert_allclose(lines(ratio)[3], np.full(5, 0.1 / 5))
    np.testing.assert_array_equal(lines(ratio, "threshold"), [[0.5, 0.5]])


@pytest.mark.parametrize("kind", DRAW_RUNS)
@pytest.mark.parametrize("pattern", [None, "*[12]"])
def test_a_figure_is_the_same_of_what_it_needs_alone(
    kind: str, pattern: str | None, folder: Path, runs: Sequence[Run]
) -> None:
    options = Options(layers=pattern)
    few = runs_of([folder / "plain", folder / "bn"], None, options, RUN_NEEDS[kind])
    figures = [drawn(DRAW_RUNS[kind], given, options) for given in (few, runs)]
    assert texts(figures[0]) == texts(figures[1])
    for found, expected in zip(*map(panels, figures), strict=True):
        assert len(lines(found)) > 0
        np.testing.assert_allclose(lines(found), lines(expected), rtol=1e-10)


def test_what_a_figure_does_not_show_is_not_computed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def needed(kind: str) -> list[str]:
        (run,) = runs_of([folder / "plain"], None, Options(), RUN_NEEDS[kind])
        return [*run.points[-1].layers]

    monkeypatch.setattr(trajectory, "spectrum", None)  # every eigenvalue
    for kind in ("run-magnitude", "run-domination"):
        assert needed(kind) == ["fc1", "fc2", "fc3", "fc4"]
    assert needed("run-last-layer") == ["fc4"]
    monkeypatch.setattr(trajectory, "leading_eigenvalues", None)
    assert needed("run-neurons") == []


def test_steps_can_be_logarithmic_and_have_a_zero(runs: Sequence[Run]) -> None:
    axes = panels(drawn(over_steps.magnitude, runs, Options(log_steps=True)))[0]
    assert axes.get_xscale() == "symlog"
    at = axes.transData.transform([(step, 1) for step in (0, 1, 10, 100)])[:, 0]
    assert np.isfinite(at).all()
    assert at[3] - at[2] == pytest.approx(at[2] - at[1])


def test_files_together_are_one_run(folder: Path) -> None:
    files = sorted((folder / "plain").glob("*.h5"))
    (run,) = runs_of(files[::-1], None, Options())
    assert run.name == "plain"
    assert [point.step for point in run.points] == STEPS


def test_a_run_of_one_file_is_points(folder: Path) -> None:
    (run,) = runs_of([folder / "plain" / "step_00000000.h5"], ["start"], Options())
    axes = panels(drawn(over_steps.magnitude, [run], Options()))[0]
    assert axes.get_ylabel() == "start"
    assert [line.get_markevery() for line in axes.lines] == [[0]] * 4


def test_steps_from_names_are_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for epoch in (2, 10):
        write(network(), tmp_path / f"epoch_{epoch}.h5")
    (run,) = runs_of([tmp_path], None, Options())
    assert [point.step for point in run.points] == [2, 10]
    assert "steps are the last numbers in the files' names" in capsys.readouterr().err


def test_networks_of_other_names_are_layers_by_number(folder: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "deep", depth=6)
    both = runs_of([folder / "plain", tmp_path / "deep"], None, Options())
    figure = drawn(over_steps.magnitude, both, Options())
    assert texts(figure) == [f"layer {n}" for n in range(1, 7)]
    assert [len(lines(axes)) for axes in panels(figure)] == [4, 4, 4, 6, 6, 6]


def test_wrong_runs_are_errors(folder: Path, tmp_path: Path, runs: Sequence[Run]) -> None:
    with pytest.raises(InputError, match="holds no statistics file"):
        runs_of([tmp_path], None, Options())
    with pytest.raises(UsageError, match="3 labels are given for 2 runs; pass --label once"):
        runs_of([folder / "plain", folder / "bn"], ["a", "b", "c"], Options())
    with pytest.raises(UsageError, match="7 runs do not fit onto a page"):
        drawn(over_steps.magnitude, [runs[0]] * 7, Options())
    with pytest.raises(UsageError, match=r"no layer of .*plain matches 'conv'"):
        drawn(over_steps.magnitude, runs, Options(layers="conv"))
