"""Every experiment at its smallest size: it runs, goes on, and leaves what the page is from."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

import condcli
from condcli.cli import run
from experiments import EXPERIMENTS, SCALES, training
from experiments.__main__ import finite, keep, parsed
from experiments.document import DOCUMENT, document, section
from experiments.recipe import Recipe
from experiments.setup import Setup
from experiments.training import train


def module(name: str) -> ModuleType:
    return import_module(f"experiments.{name}")


def setup(folder: Path) -> Setup:
    return Setup(scale="smoke", root=folder / "nothing", work=folder, figures=folder)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_leaves_figures_and_numbers_and_a_section(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = module(name)
    outcome = experiment.run(experiment.SIZES["smoke"], setup(tmp_path))
    assert outcome.checks
    assert set(outcome.rows) <= set(experiment.ROWS)
    for figure in outcome.figures:
        assert (tmp_path / figure).read_bytes().startswith(b"\x89PNG")
    keep(name, outcome, setup(tmp_path), threads=1, write=False)
    kept = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    assert kept["numbers"]
    page = section(name, experiment, kept)
    for check in outcome.checks:
        cells = (text.replace("|", "\\|") for text in (check.claim, check.paper, check.ours))
        assert f"| {' | '.join(cells)} |" in page


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_says_what_it_would_train(name: str, scale: str) -> None:
    experiment = module(name)
    if experiment.SIZES[scale] is None:
        assert experiment.ROWS_NOT_RUN
        return
    recipes = experiment.recipes(experiment.SIZES[scale])
    digests = [recipe.digest for recipe in recipes.values()]
    assert digests or experiment.hours  # of what is no training of one network
    assert len(set(digests)) == len(digests)
    for recipe in recipes.values():
        assert all(step < recipe.steps for step in recipe.record)
        assert all(step <= recipe.steps for step in recipe.checkpoints + recipe.tests)


RECIPES = {
    "batch normalisation, momentum": Recipe(
        arch="mlp",
        arch_args={"inputs": 64, "depth": 3, "width": 8, "norm": "bn"},
        data="digits",
        momentum=0.9,
        batch=100,
        milestones=(20,),
        steps=24,  # over the end of an epoch, of fourteen batches
        record=(0, 10, 20),
        checkpoints=(0, 15, 24),
        tests=(15, 24),
    ),
    "a CNN, augmented": Recipe(
        arch="resnet",
        arch_args={"depth": 8, "channels": 1, "width": 2},
        data="digits",
        augment=True,
        batch=32,
        steps=6,
        record=(0, 3, 5),
        layers=("fc",),
        checkpoints=(6,),
    ),
    "all images, Adam": Recipe(
        arch="mlp",
        arch_args={"inputs": 64, "depth": 2, "width": 8},
        data="digits",
        images=200,
        optimizer="adam",
        rate=0.01,
        steps=6,
        record=(0, 4),
        checkpoints=(6,),
        scaled={"fc1": 3.0},
    ),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_training_that_was_cut_off_goes_on_to_the_same_bits(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train("run", recipe, setup(tmp_path / "whole"))
    monkeypatch.setattr(training, "SAVE_SECONDS", 0.0)
    usual, cuts = training.update, [recipe.steps // 2, 2]

    def update(*arguments: object) -> float:
        if cuts and arguments[-1] == cuts[-1]:
            cuts.pop()
            raise KeyboardInterrupt
        return usual(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "update", update)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train("run", recipe, setup(tmp_path / "parts"))
    parts = train("run", recipe, setup(tmp_path / "parts"))
    assert not cuts
    assert parts.log.losses == whole.log.losses
    assert parts.log.tests == whole.log.tests
    assert weights(parts.folder) == weights(whole.folder)
    assert names(parts.stats) == names(whole.stats) == [f"step_{n:08}.h5" for n in recipe.record]
    assert moments(parts.stats) == moments(whole.stats)
    for ours, other in zip(parts.checkpoints, whole.checkpoints, strict=True):
        assert ours.read_bytes() == other.read_bytes()


def weights(folder: Path) -> dict[str, list[float]]:
    state = torch.load(folder / "state.pt", weights_only=True)["model"]
    return {name: tensor.flatten().tolist() for name, tensor in state.items()}


def moments(folder: Path) -> list[list[float]]:
    read = (condcli.read(path) for path in sorted(folder.iterdir()))
    return [layer.grad_moment.ravel().tolist() for r in read for layer in r.layers.values()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPES["all images, Adam"]
    done = train("run", recipe, setup(tmp_path))
    monkeypatch.delattr(training, "update")
    assert train("run", recipe, setup(tmp_path)).log == done.log


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_probe_takes_checkpoints_as_they_are(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = train("run", recipe, setup(tmp_path)).checkpoints[-1]
    file = tmp_path / "stats.h5"
    assert run(["probe", str(checkpoint), "--samples", "50", "-o", str(file)]) == 0


def test_the_page_is_what_the_results_give() -> None:
    assert document() == DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["nope"], "no experiment nope"), (["--write"], "nothing of the scale smoke")],
)
def test_what_cannot_be_run_is_refused_at_once(
    arguments: list[str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["experiments", *arguments])
    with pytest.raises(SystemExit):
        parsed()
    assert told in capsys.readouterr().err


def test_what_is_not_a_number_is_null() -> None:
    kept = finite({"a": (1.23456789, float("nan")), "b": [float("inf"), 3, "c", None, True]})
    assert kept == {"a": [1.2346, None], "b": [None, 3, "c", None, True]}
