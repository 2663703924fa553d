"""Options that make no sense, names that lead nowhere, and odd surroundings."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from condcli.models import ZOO, write_checkpoint
from condcli.statsfile import write
from tests.reliability.cases import Case
from tests.synthetic import layer, stats

NETWORK = {"inputs": 64, "classes": 10, "depth": 2, "width": 4}
PROBE = "probe model.pt --data digits --samples 20"


def with_stats(folder: Path) -> None:
    """stats.h5: two layers."""
    write(stats(layer("fc1"), layer("fc2", order=1)), folder / "stats.h5")


def with_model(folder: Path) -> None:
    """model.pt: a small network for the digits."""
    write_checkpoint(
        folder / "model.pt", ZOO["mlp"](**NETWORK).state_dict(), arch="mlp", arch_args=NETWORK
    )


def words(line: str, *prepare: Callable[[Path], None]) -> Callable[[Path], list[str]]:
    """The builder of a command line, after making what it reads."""

    def build(folder: Path) -> list[str]:
        for make in prepare:
            make(folder)
        return line.split()

    return build


def reading(line: str, said: str, code: int = 2) -> Case:
    return Case(line, words(line, with_stats), code, said)


def probing(options: str, said: str, code: int = 2, *prepare: Callable[[Path], None]) -> Case:
    return Case(f"probe {options}", words(f"{PROBE} {options}", with_model, *prepare), code, said)


def text(name: str, content: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(content) and None


def _nowhere(folder: Path) -> None:
    (folder / "link.h5").symlink_to("nowhere.h5")


def _read_only(folder: Path) -> None:
    (folder / "locked").mkdir(mode=0o555)


def _unreadable(folder: Path) -> None:
    for make, name in ((with_stats, "stats.h5"), (with_model, "model.pt")):
        make(folder)
        (folder / name).chmod(0)


def _no_layers(folder: Path) -> None:
    write(stats(), folder / "empty.h5")


def _twice(folder: Path) -> None:
    with_stats(folder)
    (folder / "again.h5").symlink_to("stats.h5")


def _undecodable(folder: Path) -> list[str]:
    with_model(folder)
    return [*PROBE.split(), "-o", os.fsdecode(b"no-folder-\xff/s.h5")]


def _hostile(folder: Path) -> list[str]:
    with_stats(folder)
    return ["spectrum", "stats.h5", "--layers", "[/bold]\x1b[31mfc\u202e\nnext*"]


def _long_word(before: str) -> Callable[[Path], list[str]]:
    return words(f"spectrum stats.h5 {before}{70_000 * 'y'}", with_stats)


def _not_finite(folder: Path) -> None:
    write(stats(layer("fc\x1b[31m7", np.full((2, 2), np.nan))), folder / "nan.h5")


CASES = [
    reading("spectrum", "Missing argument 'FILE'"),
    reading("spectrum stats.h5 --colour", "No such option: --colour"),
    reading("spectrum stats.h5 stats.h5", "unexpected extra argument"),
    reading("sepctrum stats.h5", "No such command 'sepctrum'"),
    reading("spectrum stats.h5 --format xml", "'--format'"),
    reading("spectrum stats.h5 --percent 100,many", "100,many"),
    reading("spectrum stats.h5 --percent 0", "percentage 0 is out of range"),
    reading("spectrum stats.h5 --percent nan", "percentage nan is out of range"),
    reading("spectrum stats.h5 --percent 101", "percentage 101 is out of range"),
    reading("spectrum stats.h5 --percent 10 --top 2", "--top"),
    reading("spectrum stats.h5 --top 0", "'--top'"),
    reading("spectrum stats.h5 --cache --top 2", "--cache"),
    reading("spectrum stats.h5 --layers nowhere*", "no layer matches 'nowhere*'"),
    reading("spectrum stats.h5 --sort size", "there is no column 'size' here"),
    reading("spectrum stats.h5 --fail-on kappa_50", "'kappa_50' is no condition"),
    reading("spectrum stats.h5 --fail-on kappa_50>1;rm", "'kappa_50>1;rm' is no condition"),
    reading("domination stats.h5 --threshold 0", "the threshold 0 is not positive"),
    reading("domination stats.h5 --threshold nan", "the threshold nan is not positive"),
    reading("domination stats.h5 --lr -1", "the learning rate -1 is not positive"),
    reading("neurons stats.h5 --fail-on dead>3", "there is no column 'dead' here"),
    reading("inspect stats.h5 --tensors", "stats.h5 is a statistics file"),
    reading("inspect stats.h5 --scaffold net.py", "stats.h5 is a statistics file"),
    reading("merge stats.h5 stats.h5 -o all.h5", "stats.h5 is given twice"),
    reading("spectrum nowhere.h5", "nowhere.h5: ", 3),
    reading("spectrum .", ".: ", 3),
    reading("merge stats.h5 -o stats.h5 --force", "stats.h5", 5),
    reading("merge stats.h5 nowhere.h5 -o all.h5", "nowhere.h5: ", 3),
    reading("merge stats.h5 -o all.h5", "stats.h5", 3),
    Case("a link to nowhere", words("spectrum link.h5", _nowhere), 3, "link.h5: "),
    Case("statistics kept from us", words("inspect stats.h5", _unreadable), 3, "stats.h5: "),
    Case("a shard kept from us", words("merge stats.h5 -o o.h5", _unreadable), 3, "stats.h5: "),
    Case(
        "a model kept from us",
        words(f"{PROBE} -o new.h5", _unreadable),
        3,
        "model.pt cannot be read",
    ),
    Case("a shard under two names", words("merge stats.h5 again.h5", _twice), 5, "stats.h5"),
    Case("hostile words in an option", _hostile, 2, r"no layer matches '[/bold]\x1b[31m"),
    Case("a long word for layers", _long_word("--layers "), 2, "no layer matches 'yyy"),
    Case("a long word for a format", _long_word("--format "), 2, "'--format'"),
    Case("a long word for a condition", _long_word("--fail-on "), 2, "there is no column 'yyy"),
    Case("a long word for numbers", _long_word("--percent "), 2, "--percent 'yyy"),
    Case("a long word too many", _long_word(""), 2, "unexpected extra argument"),
    Case("a long option", _long_word("--"), 2, "No such option: --yyy"),
    Case("a hostile layer name", words("spectrum nan.h5", _not_finite), 3, r"fc\x1b[31m7"),
    probing("--samples 0", "--samples 0 is no number of examples"),
    probing("--samples many", "--samples many is no number of examples"),
    probing("--batch-size -3", "--batch-size -3 is no number of examples"),
    probing("--seed -1", "'--seed'"),
    probing("--length 0", "'--length'"),
    probing("--conv both", "'--conv'"),
    probing("--dtype float16", "'--dtype'"),
    probing("--device tpu", "device 'tpu' does not exist"),
    probing("--device cuda:99", "there is no cuda:99 device here"),
    probing("--shard 3/2", "shard '3/2' does not exist"),
    probing("--shard 1/2 --batch-size auto", "--batch-size auto"),
    probing("--split elsewhere", "elsewhere"),
    probing("--normalize 1/0", "--normalize '1/0'"),
    probing("--normalize 1,2/1", "--normalize gives 2 numbers"),
    probing("--transform nowhere.py:f", "nowhere.py", 3),
    probing("--loss nowhere.py:f", "nowhere.py", 3),
    probing("--loss odd", "odd"),
    probing("--target price", "target"),
    probing("--arch mpl", "mpl"),
    probing("--arch nowhere.py:f", "nowhere.py", 3),
    probing("--arch no_such_package.nets:f", "no_such_package", 3),
    probing("--arch-arg depth", "depth"),
    probing("--arch-arg speed=3", "speed"),
    probing("--weights ema", "model.pt has no weights at 'ema'"),
    probing("--layers nowhere*", "nowhere*"),
    probing("--arch odd.py:build", "odd.py, line 1", 3, text("odd.py", "def build(:\n")),
    probing("--arch fails.py:build", "ZeroDivisionError", 3, text("fails.py", "1 / 0\n")),
    probing("--arch ends.py:build", "SystemExit: 0", 3, text("ends.py", "raise SystemExit(0)\n")),
    probing("-o no/such/s.h5", "no/such", 5),
    probing("model.pt -o run", "run/model.h5; probe them apart"),
    probing("second.pt", "-o FOLDER", 2, text("second.pt", "")),
    probing("second.pt -o nowhere/run", "nowhere/run", 5, text("second.pt", "")),
    probing("-o model.pt/", "model.pt", 5),
    probing("-o /dev/full", "/dev/full", 5),
    probing("-o model.pt --force", "model.pt", 5),
    probing("-o stats.h5", "stats.h5", 5, with_stats),
    probing("-o locked/s.h5", "locked", 5, _read_only),
    Case("an output that no terminal can show", _undecodable, 5, r"no-folder-\udcff"),
    Case("no data", words("probe model.pt", with_model), 2, "model.pt does not say what data"),
    Case("a missing model", words("probe nowhere.pt --data digits"), 3, "nowhere.pt"),
]
