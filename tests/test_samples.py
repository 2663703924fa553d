"""Each sample checkpoint shows its phenomenon, and its healthy counterpart does not.

The bounds leave room for a set that is trained again on another kind of processor;
sample_checkpoints/README.md has the committed files' numbers.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import condcli
from condcli.analysis.diagnosis import Finding, diagnose
from condcli.analysis.domination import DominationRow, domination
from condcli.analysis.neurons import neurons
from condcli.analysis.spectrum import SpectrumRow, spectrum
from condcli.models import ZOO, load, read_checkpoint
from condcli.stats import ProbeStats

FOLDER = Path(__file__).parents[1] / "sample_checkpoints"
GUESSING = math.log(10)  # the loss of naming each of ten digits alike
PLANTED = ["fc1", "fc2", "fc3"]
THRESHOLDS = (1e-4, 1e-3)

# The bounds that the loss lies between, and the accuracy.
OUTCOMES = {
    "mlp20_default": ((GUESSING - 0.01, GUESSING + 0.01), (0.08, 0.13)),
    "mlp20_he": ((0.5, 1.5), (0.5, 0.8)),
    "mlp20_bn": ((0.5, 1.5), (0.7, 0.95)),
    "mlp5_bn": ((0.0, 0.05), (0.99, 1.0)),
    "mlp5_dominated": ((0.1, 0.5), (0.9, 0.98)),
    "mlp5_he": ((0.0, 0.05), (0.99, 1.0)),
    "mlp5_dying": ((0.1, 1.0), (0.6, 0.95)),
    "resnet110_step1": ((5.0, 25.0), (0.05, 0.2)),
    "resnet110_lastbn_step1": ((2.2, 2.7), (0.05, 0.2)),
    "resnet110": ((GUESSING - 0.1, GUESSING + 0.1), (0.08, 0.2)),
    "resnet110_lastbn": ((0.0, 0.3), (0.9, 1.0)),
}
# The rule of the one finding of a diagnosis; none of a healthy network.
FOUND = {
    "mlp20_default": "vanishing-gradient",
    "mlp20_he": "ill-conditioned-input",
    "mlp5_dominated": "weight-domination",
    "mlp5_dying": "dying-neurons",
    "resnet110_step1": "last-layer-input",
    "resnet110": "last-layer-stuck",
}
HEALTHY = ["mlp20_he", "mlp20_bn", "mlp5_bn", "mlp5_he", "mlp5_dying", "resnet110_lastbn"]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Layers this small are slower on several threads."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@functools.cache
def train_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_samples", FOLDER / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def probed(name: str) -> ProbeStats:
    wanted = ["fc"] if name.endswith("_step1") else []  # to save time
    return condcli.probe(FOLDER / f"{name}.pt", "digits", per_example="none", layers=wanted)


@functools.cache
def spectra(name: str) -> list[SpectrumRow]:
    return spectrum(probed(name), percent=[50])


def last_layer(name: str) -> tuple[SpectrumRow, DominationRow]:
    return spectra(name)[-1], domination(probed(name))[-1]


def ratios(name: str) -> dict[str, float]:
    rows = domination(probed(name))
    return {row.layer: row.ratio for row in rows if row.ratio is not None}


def decades(values: list[float]) -> float:
    return math.log10(max(values) / min(values))


def dying_share(name: str) -> float:
    rows = neurons(probed(name))
    return sum(row.dying or 0 for row in rows) / sum(row.units for row in rows)


def median_kappa(name: str, matrix: str) -> float:
    """Of κ_50 over the hidden layers; the last Σ_∇h has rank 9 whatever the network."""
    kappas = [getattr(row, f"kappa_{matrix}")["50"].value for row in spectra(name)[1:-1]]
    return float(np.median(kappas))


@functools.cache
def diagnosed(name: str) -> list[Finding]:
    if not name.endswith("_step1"):
        return diagnose(probed(name))
    return diagnose(condcli.probe(FOLDER / f"{name}.pt", "digits", samples=64, per_example="none"))


def test_there_is_a_file_for_every_recipe_and_an_outcome_for_every_file() -> None:
    files = {path.stem for path in FOLDER.glob("*.pt")}
    assert files == set(train_script().RECIPES) == set(OUTCOMES)


def test_all_files_together_are_under_four_megabytes() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("*.pt")) < 4e6


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_sample_says_itself_what_it_is_and_how_it_was_trained(name: str) -> None:
    recipe = train_script().RECIPES[name]
    checkpoint = read_checkpoint(FOLDER / f"{name}.pt")
    assert (checkpoint.arch, checkpoint.arch_args) == (recipe.arch, recipe.arch_args)
    assert (checkpoint.step, checkpoint.data) == (recipe.steps, "digits")
    assert checkpoint.normalize == "0.3051/0.375"
    assert load(FOLDER / f"{name}.pt").arch.startswith(f"{recipe.arch}(")


@pytest.mark.parametrize("name", OUTCOMES)
def test_loss_and_accuracy_are_what_the_phenomenon_leads_to(name: str) -> None:
    provenance = probed(name).provenance
    (least_loss, most_loss), (least_accuracy, most_accuracy) = OUTCOMES[name]
    assert provenance.accuracy is not None
    assert least_loss <= provenance.loss <= most_loss
    assert least_accuracy <= provenance.accuracy <= most_accuracy


def test_gradients_vanish_exponentially_with_depth_under_the_default_initialisation() -> None:
    largest = np.log10([row.lambda_max_grad for row in spectra("mlp20_default")])
    per_layer = np.diff(largest)
    # W has variance 1/(3d), and ReLU halves: one sixth a layer on the way down.
    assert np.abs(per_layer[:-1] - math.log10(6)).max() < 0.25
    assert largest[-1] - largest[0] > 14


def test_inputs_vanish_with_depth_under_the_default_initialisation_down_to_the_biases() -> None:
    largest = [row.lambda_max_input for row in spectra("mlp20_default")]
    assert all(after < before / 2 for before, after in pairwise(largest[:5]))
    assert decades(largest) > 2
    assert max(largest[5:]) < 0.3


@pytest.mark.parametrize("name", ["mlp20_he", "mlp20_bn"])
def test_inputs_and_gradients_stay_level_under_he_initialisation_and_under_bn(name: str) -> None:
    assert decades([row.lambda_max_input for row in spectra(name)]) < 1
    assert decades([row.lambda_max_grad for row in spectra(name)]) < 2


@pytest.mark.parametrize(("matrix", "factor"), [("input", 10), ("grad", 3)])
def test_bn_is_better_conditioned_than_he_initialisation_at_about_the_same_loss(
    matrix: str, factor: float
) -> None:
    losses = [probed(name).provenance.loss for name in ("mlp20_he", "mlp20_bn")]
    assert abs(losses[0] - losses[1]) < 0.2
    assert median_kappa("mlp20_he", matrix) > factor * median_kappa("mlp20_bn", matrix)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_exactly_the_planted_layers_are_dominated(threshold: float) -> None:
    rows = domination(probed("mlp5_dominated"), threshold=threshold)
    assert [row.layer for row in rows if row.dominated] == PLANTED


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("name", HEALTHY)
def test_no_layer_of_a_healthy_network_is_dominated(name: str, threshold: float) -> None:
    assert not any(row.dominated for row in domination(probed(name), threshold=threshold))


def test_dominated_layers_have_not_moved_and_the_others_have() -> None:
    recipe = train_script().RECIPES["mlp5_dominated"]
    torch.manual_seed(train_script().SEED)
    before = ZOO["mlp"](**recipe.arch_args).state_dict()
    after = read_checkpoint(FOLDER / "mlp5_dominated.pt").state_dict
    assert after is not None
    for layer in ("fc1", "fc2", "fc3", "fc4", "fc5"):
        start = before[f"{layer}.weight"]
        if layer in PLANTED:
            start = start * train_script().DOMINATION
        moved = float((after[f"{layer}.weight"] - start).norm() / start.norm())
        assert moved < 1e-5 if layer in PLANTED else moved > 0.1


def test_a_network_with_dominated_layers_learns_but_ends_worse() -> None:
    dominated, healthy = (probed(name).provenance for name in ("mlp5_dominated", "mlp5_bn"))
    assert 5 * healthy.loss < dominated.loss < GUESSING / 5


def test_too_large_a_learning_rate_has_killed_a_fifth_of_the_neurons_and_a_small_one_few() -> None:
    assert dying_share("mlp5_dying") > 0.2
    assert dying_share("mlp5_he") < 0.05
    assert dying_share("mlp5_bn") == 0


def test_after_one_step_the_last_layer_without_bn_has_large_non_negative_inputs() -> None:
    layer = probed("resnet110_step1").layers["fc"]
    largest = last_layer("resnet110_step1")[0].lambda_max_input
    assert largest > 20 * last_layer("resnet110_lastbn_step1")[0].lambda_max_input
    assert layer.input_mean.min() >= 0
    assert np.square(layer.input_mean).sum() > 0.7 * largest  # their mean makes most of Σ_x
    with_bn = probed("resnet110_lastbn_step1").layers["fc"]
    assert np.abs(with_bn.input_mean).max() < 0.05  # one step of BN's bias


def test_after_one_step_the_last_layer_without_bn_has_large_gradients_and_growing_weights() -> None:
    plain, cured = (last_layer(name)[1] for name in ("resnet110_step1", "resnet110_lastbn_step1"))
    assert plain.sigma_max_grad > 10 * cured.sigma_max_grad
    assert plain.sigma_max_weight > 2 * cured.sigma_max_weight


def test_then_the_last_layer_without_bn_is_dominated_and_the_one_with_bn_is_not() -> None:
    plain, cured = (last_layer(name)[1] for name in ("resnet110", "resnet110_lastbn"))
    assert plain.sigma_max_weight > 5 * cured.sigma_max_weight
    assert ratios("resnet110")["fc"] < 1e-3 < 0.2 * ratios("resnet110_lastbn")["fc"]


def test_with_the_last_layer_others_of_the_resnet_without_last_bn_have_stopped_learning() -> None:
    assert sum(ratio < 1e-3 for ratio in ratios("resnet110").values()) > 10
    assert min(ratios("resnet110_lastbn").values()) > 2e-3


def test_training_again_writes_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        train_script().main(["mlp5_he", "--to", str(tmp_path / folder)])
    first, second = (tmp_path / folder / "mlp5_he.pt" for folder in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_an_unknown_recipe_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train_script().main(["mlp5_hee"])
    assert "no recipe called mlp5_hee" in capsys.readouterr().err


@pytest.mark.parametrize("name", OUTCOMES)
def test_the_diagnosis_names_the_phenomenon_and_nothing_else(name: str) -> None:
    rules = [finding.rule for finding in diagnosed(name)]
    assert rules == ([FOUND[name]] if name in FOUND else [])


def test_the_diagnosis_names_the_layers() -> None:
    assert diagnosed("mlp5_dominated")[0].layers == tuple(PLANTED)
    assert diagnosed("mlp20_default")[0].layers == tuple(f"fc{k}" for k in range(1, 21))
    assert diagnosed("resnet110")[0].layers == diagnosed("resnet110_step1")[0].layers == ("fc",)
