"""What the experiments beyond the paper compute with, against closed forms and naive ways."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import condcli
from experiments.by_layer import deep, factor, hidden, law, mean_share
from experiments.game import Game, judge, networks, play, samples
from experiments.images import minibatches
from experiments.networks import network
from experiments.recipe import Recipe
from experiments.setup import Setup
from experiments.texts import LENGTH
from experiments.training import rate, train, update

GAME = Game(
    norm="sn", data="digits", images=64, pixels=64, noise=3, width=8, depth=3, batch=16, steps=4,
    every=2,
)  # fmt: skip
TEXT = Recipe(arch="transformer", data="experiments.texts:sources", batch=3, steps=1)


def setup(folder: Path) -> Setup:
    return Setup(scale="smoke", root=folder, work=folder, figures=folder)


def moments(rows: np.ndarray) -> SimpleNamespace:
    return SimpleNamespace(input_moment=rows.T @ rows / len(rows), input_mean=rows.mean(0))


def test_the_share_of_the_mean_is_one_of_equal_rows_and_one_over_pi_behind_a_relu() -> None:
    assert mean_share(moments(np.ones((5, 3)))) == pytest.approx(1)
    normal = np.random.default_rng(0).standard_normal((200_000, 4))
    assert mean_share(moments(normal.clip(0))) == pytest.approx(1 / math.pi, abs=0.005)
    assert mean_share(moments(normal)) == pytest.approx(0, abs=1e-3)


def test_an_embeddings_share_is_of_its_diagonal() -> None:
    words = SimpleNamespace(input_moment=np.array([0.75, 0.25]), input_mean=np.array([0.75, 0.25]))
    assert mean_share(words) == pytest.approx(0.75**2 + 0.25**2)


def test_the_factor_is_from_a_hidden_layer_to_the_one_before() -> None:
    values = [1e9, *(3.0 * 1.4**-k for k in range(6)), 1e-9]
    assert factor(values) == pytest.approx(1.4)
    assert hidden(values) == pytest.approx((values[3] + values[4]) / 2)
    assert hidden([0.0, 1.0, math.nan, math.nan, 0.0]) == math.inf
    assert deep(values) == pytest.approx((values[6] + values[7]) / 2)


def test_the_rate_grows_in_the_warm_up_and_then_falls() -> None:
    recipe = replace(TEXT, rate=0.4, warmup=4, milestones=(6,), steps=8)
    rates = [rate(recipe, step) for step in range(8)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.04, 0.04])
    assert recipe.digest != replace(recipe, warmup=0).digest


def test_a_text_is_windows_and_the_bytes_after() -> None:
    x, y = next(minibatches(TEXT, Path("nowhere")))
    assert x.shape == y.shape == (3, LENGTH)
    assert torch.equal(x[:, 1:], y[:, :-1])
    assert 0 <= x.min() <= x.max() < 256


def test_the_loss_of_a_text_is_the_mean_over_its_bytes(tmp_path: Path) -> None:
    recipe = replace(TEXT, arch_args={"depth": 1, "width": 16})
    model = network(recipe)
    x, y = next(minibatches(recipe, tmp_path))
    logs = functional.log_softmax(model(x), dim=2).detach().numpy()
    expected = -sum(logs[n, t, y[n, t]] for n in range(3) for t in range(LENGTH)) / (3 * LENGTH)
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with condcli.Recorder(model, tmp_path / "stats") as record:
        assert update(model, optimizer, recipe, record, x, y, 0) == pytest.approx(expected)
    stats = condcli.read(tmp_path / "stats/step_00000000.h5")
    assert stats.provenance.loss_terms == 3 * LENGTH


def test_theorem_4_2_is_told_from_4_1(tmp_path: Path) -> None:
    for norm, theorem in (("ln", "4.2"), ("none", "4.1")):
        recipe = Recipe(
            arch="mlp",
            arch_args={"inputs": 64, "depth": 4, "width": 16, "norm": norm, "init": "he"},
            data="digits", batch=64, steps=1, checkpoints=(0,),
        )  # fmt: skip
        done = train(norm, recipe, setup(tmp_path))
        found = law(done.checkpoints[0], ["fc2"], setup(tmp_path))
        assert found["fc2"]["law"] == theorem


@pytest.mark.parametrize(("args", "normalised"), [({"norm": "none"}, False), ({}, True)])
def test_a_plain_resnet_18_has_no_batch_normalisation(args: dict, normalised: bool) -> None:
    model = network(Recipe(arch="resnet18", steps=1, arch_args=args))
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == normalised


def test_the_discriminators_loss_is_the_mean_over_real_and_made() -> None:
    players = networks(replace(GAME, norm="none"), "cpu")
    real, noise = torch.rand(5, 64), torch.randn(2, 5, 3)
    told = SimpleNamespace(loss=lambda loss, terms: (loss, terms))
    loss, terms = judge(players, real, noise, told)  # type: ignore[arg-type]
    logits = [players["discriminator"](x) for x in (real, players["generator"](noise[0]))]
    right = [-functional.logsigmoid(logits[0]), -functional.logsigmoid(-logits[1])]
    assert terms == 10
    assert loss.item() == pytest.approx(torch.cat(right).mean().item())


def test_both_players_are_recorded_and_kept_with_the_weights_that_ran(tmp_path: Path) -> None:
    folder = play("gan", GAME, setup(tmp_path))
    for player in ("generator", "discriminator"):
        points = condcli.trajectory([folder / player])
        assert [point.step for point in points] == [0, 2, 4]
        assert [*points[0].layers] == ["fc1", "fc2", "fc3"]
        last = points[-1].layers["fc2"].sigma_max_weight
        weight = condcli.load(folder / f"{player}.pt").module.fc2.weight
        assert np.linalg.norm(weight.detach().numpy(), 2) == pytest.approx(last, rel=0.05)
    assert samples(folder / "generator.pt", GAME).shape == (12, 8, 8)
