"""Completion, asked for as a shell does: by an environment variable, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torchvision

from condcli.data.catalogue import KNOWN, PREFIXES
from condcli.models.architecture import parse_arch_args
from condcli.models.zoo import ZOO as FACTORIES
from condcli.names import DATA_PREFIXES, DATA_SETS, ZOO, vision_names, vision_papers

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "torchvision", "numpy", "h5py", "scipy", "rich"}
PROGRAM = """
import atexit, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
sys.argv = ["condcli"]
from condcli.entry import main
main()
"""


def answered(**environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert HEAVY.isdisjoint(done.stderr.split())
    return done.stdout.splitlines()


def bash(*words: str) -> list[str]:
    """What bash is told for the last word; it splits words at colons."""
    return answered(
        _CONDCLI_COMPLETE="complete_bash",
        COMP_WORDS="\n".join(("condcli", *words)),
        COMP_CWORD=str(len(words)),
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("probe", "m.pt", "--arch", "vgg_"), ["vgg_style", "vgg_style_lastbn"]),
        (("probe", "m.pt", "--data", "cifar"), ["cifar10", "cifar100"]),
        (("probe", "m.pt", "--conv", ""), ["channels", "patches", "reduce"]),
        (("probe", "m.pt", "--arch", "torchvision", ":", "vit_l"), ["vit_l_16", "vit_l_32"]),
        (
            ("probe", "m.pt", "--arch", "torchvision", ":", "resnet18", "--data", "d"),
            ["digits"],
        ),
        (("probe", "m.pt", "--data", "my_file"), []),
        (("data", ""), ["list"]),
        (("plot", "run-m"), ["run-magnitude"]),
        (("dynamics", "run/", "--metric", "kappa_"), ["kappa_input", "kappa_grad"]),
    ],
)
def test_bash_completes(words: tuple[str, ...], expected: list[str]) -> None:
    assert bash(*words) == expected


def test_a_colon_alone_is_followed_by_every_network() -> None:
    assert bash("probe", "m.pt", "--arch", "torchvision", ":") == vision_names()


def test_no_letter_yet_shows_names_and_prefixes() -> None:
    assert bash("probe", "m.pt", "--arch", "") == [*ZOO, "torchvision:", "timm:", "hf:"]
    prefixes = [f"{prefix}:" for prefix in DATA_PREFIXES]
    assert bash("probe", "m.pt", "--data", "") == [*DATA_SETS, *prefixes]


def test_zsh_and_fish_take_a_colon_for_a_letter() -> None:
    typed = "condcli probe m.pt --arch torchvision:vit_l"
    zsh = answered(_CONDCLI_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS=typed)
    assert zsh[0].endswith('"torchvision\\\\:vit_l_16"')
    fish = answered(
        _CONDCLI_COMPLETE="complete_fish",
        _TYPER_COMPLETE_ARGS=typed,
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert fish == ["torchvision:vit_l_16", "torchvision:vit_l_32"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_can_be_shown(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "condcli", "--show-completion", shell],
        cwd=ROOT,
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"_CONDCLI_COMPLETE=complete_{shell}" in done.stdout
    assert done.stderr == ""


def test_the_names_are_those_that_can_be_opened() -> None:
    assert ZOO.keys() == FACTORIES.keys()
    assert list(DATA_SETS) == list(KNOWN)
    assert list(DATA_PREFIXES) == list(PREFIXES)
    names = torchvision.models.list_models(module=torchvision.models)
    assert vision_names() == list(vision_papers()) == names
    assert all(vision_papers().values())


@pytest.mark.parametrize("name", ZOO)
def test_the_arguments_shown_are_those_that_are_taken(name: str) -> None:
    shown = [text.partition("|")[0] for text in ZOO[name].arguments.split()]
    given = parse_arch_args(shown)
    taken = FACTORIES[name](**given).state_dict()
    assert {key: tensor.shape for key, tensor in taken.items()} == {
        key: tensor.shape for key, tensor in FACTORIES[name]().state_dict().items()
    }
    for text in ZOO[name].arguments.split():
        key, _, values = text.partition("=")
        for value in values.split("|"):
            FACTORIES[name](**parse_arch_args(["depth=8", f"{key}={value}"][key == "depth" :]))
