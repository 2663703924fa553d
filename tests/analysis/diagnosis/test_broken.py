"""Networks broken on purpose: what is broken is found, and found first."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import pytest
import torch

from condcli.analysis.diagnosis import Finding
from tests.analysis.diagnosis import broken

BROKEN: dict[str, tuple[Callable[[], Sequence[Finding]], str]] = {
    "frozen layers": (broken.frozen, "no-gradient"),
    "half of a layer dead": (broken.dead_half, "dying-neurons"),
    "a huge initialisation": (lambda: broken.scaled(10), "exploding-gradient"),
    "a tiny initialisation": (lambda: broken.scaled(0.1), "vanishing-gradient"),
    "100 layers without normalisation": (broken.deep, "vanishing-gradient"),
    "an input that nobody normalised": (broken.unnormalised, "unnormalised-input"),
    "a feature given twice": (broken.duplicated, "duplicated-features"),
    "labels changed at random": (broken.noisy, "even-errors"),
    "a constant initialisation": (broken.constant, "duplicated-units"),
    "tanh with large weights": (broken.saturated, "saturated-neurons"),
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Layers this small are slower on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        yield
    torch.set_num_threads(threads)


@functools.cache
def found(name: str) -> Sequence[Finding]:
    torch.manual_seed(0)
    return BROKEN[name][0]()


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found_first(name: str) -> None:
    rules = [finding.rule for finding in found(name)]
    assert rules[0] == BROKEN[name][1]
    assert {*rules[1:]} <= {"exploding-activation", "vanishing-activation"}  # of one initialisation


@pytest.mark.parametrize("norm", [False, True])
def test_in_the_same_network_unbroken_nothing_is_found(norm: bool) -> None:
    torch.manual_seed(0)
    assert broken.healthy(norm=norm) == []


def test_the_layers_are_those_that_are_broken() -> None:
    assert found("frozen layers")[0].layers == ("lower.0", "lower.2")
    assert found("half of a layer dead")[0].layers == ("3",)
    (copies,) = found("a feature given twice")
    assert (copies.layers, copies.numbers["copies"]) == (("0",), 1)
    assert "30 of 27" in copies.evidence


def test_a_fifth_of_wrong_labels_is_enough() -> None:
    torch.manual_seed(0)
    assert [finding.rule for finding in broken.noisy(0.2)] == ["even-errors"]
