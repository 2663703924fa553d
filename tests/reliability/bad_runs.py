"""Commands that take statistics files, one or a run of them, and write pictures, pages and tables:
options that make no sense, files that are none, and outputs that cannot be.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from condcli.statsfile import write
from tests.reliability.bad_options import reading, text, with_stats, words
from tests.reliability.cases import Case
from tests.synthetic import layer, stats


def over(
    line: str, said: str, code: int = 3, *prepare: Callable[[Path], None], name: str = ""
) -> Case:
    """A command over stats.h5 and what else is prepared."""
    return Case(name or line, words(line, with_stats, *prepare), code, said)


def _truncated(folder: Path) -> None:
    content = (folder / "stats.h5").read_bytes()
    (folder / "cut.h5").write_bytes(content[: len(content) // 2])


def _empty_folder(folder: Path) -> None:
    (folder / "run").mkdir()


def _locked(folder: Path) -> None:
    (folder / "locked").mkdir(mode=0o555)


def _link(folder: Path) -> None:
    (folder / "link").symlink_to("elsewhere")


def _of_one_step(folder: Path) -> None:
    for name in ("a.h5", "b.h5"):
        write(stats(layer("fc"), step=7), folder / name)


def _of_another_network(folder: Path) -> None:
    (folder / "run").mkdir()
    write(stats(layer("fc"), step=1), folder / "run" / "1.h5")
    (folder / "run" / "2.h5").write_bytes(b"<!DOCTYPE html>")


CASES = [
    # compare
    reading("compare stats.h5", "one file cannot be compared"),
    reading("compare stats.h5 stats.h5 --sort size", "there is no column 'size' here"),
    reading("compare stats.h5 stats.h5 --fail-on size>2", "there is no column 'size' here"),
    reading("compare stats.h5 nowhere.h5", "nowhere.h5: ", 3),
    over("compare stats.h5 cut.h5", "cut.h5: ", 3, _truncated),
    over("compare cut.h5 stats.h5 --format json", "cut.h5: ", 3, _truncated),
    # dynamics
    reading("dynamics", "Missing argument 'RUN'"),
    reading("dynamics stats.h5 --metric size", "there is no metric 'size'"),
    reading("dynamics stats.h5 --threshold 0", "the threshold 0 is not positive"),
    reading("dynamics stats.h5 --threshold inf", "the threshold inf is not positive"),
    reading("dynamics stats.h5 --percent 0", "percent"),
    reading("dynamics stats.h5 --percent nan", "percent"),
    reading("dynamics stats.h5 --steps --turning-points", "exclude each other"),
    reading("dynamics stats.h5 --watch", "--watch needs the folder of a run"),
    reading("dynamics stats.h5 stats.h5", "stats.h5 is given twice"),
    reading("dynamics stats.h5 --layers nowhere*", "nowhere*"),
    reading("dynamics nowhere/", "nowhere: ", 3),
    over("dynamics run/", "run holds no statistics file", 3, _empty_folder),
    over("dynamics a.h5 b.h5", "a.h5 and b.h5 are both of step 7", 3, _of_one_step),
    over("dynamics cut.h5 --steps", "cut.h5: ", 3, _truncated),
    over("dynamics run/ --turning-points", "2.h5: ", 3, _of_another_network),
    # export
    reading("export stats.h5 -o run.csv", "Missing option '--to'"),
    reading("export stats.h5 --to csv", "Missing option '--output'"),
    reading("export stats.h5 --to xml -o run.xml", "'--to'"),
    reading("export stats.h5 --to csv -o run.csv --percent 101", "percent"),
    reading("export stats.h5 --to csv -o stats.h5 --force", "stats.h5: is also an input", 5),
    reading("export stats.h5 --to npz -o no/such/run.npz", "no/such/run.npz: ", 5),
    reading("export stats.h5 --to parquet -o /dev/full", "/dev/full: ", 5),
    reading("export stats.h5 --to csv -o .", ".: is a folder", 5),
    reading("export stats.h5 --to tensorboard -o stats.h5", "stats.h5: ", 5),
    reading("export stats.h5 --to wandb-offline -o stats.h5", "stats.h5: ", 5),
    reading("export stats.h5 --to tensorboard -o no/such", "no/such: ", 5),
    reading("export nowhere.h5 --to csv -o run.csv", "nowhere.h5: ", 3),
    over("export stats.h5 --to csv -o locked/run.csv", "locked/run.csv: ", 5, _locked),
    over("export stats.h5 --to tensorboard -o locked", "locked/", 5, _locked),
    over("export stats.h5 --to npz -o link --force", "link: is a symbolic link", 5, _link),
    over("export a.h5 b.h5 --to csv -o run.csv", "are both of step 7", 3, _of_one_step),
    over("export cut.h5 --to parquet -o run.parquet", "cut.h5: ", 3, _truncated),
    over("export run/ --to tensorboard -o logs", "2.h5: ", 3, _of_another_network),
    # plot
    reading("plot", "no KIND is given"),
    reading("plot face stats.h5", "there is no KIND 'face'"),
    reading("plot depth", "no statistics file is given"),
    reading("plot depth stats.h5 -o depth.gif", "depth.gif has the ending of no picture"),
    reading("plot depth stats.h5 -o depth", "depth has the ending of no picture"),
    reading("plot depth stats.h5 --percent 101", "--percent 101 is out of range"),
    reading("plot domination stats.h5 --threshold -1", "--threshold -1 is not positive"),
    reading("plot depth stats.h5 --dpi 5", "'--dpi'"),
    reading("plot depth stats.h5 --layers nowhere*", "nowhere*"),
    reading("plot depth stats.h5 --label a --label b", "label"),
    reading("plot depth stats.h5 -o no/such/depth.png", "no/such/depth.png: ", 5),
    reading("plot depth nowhere.h5", "nowhere.h5: ", 3),
    over("plot depth stats.h5 -o locked/depth.svg", "locked/depth.svg: ", 5, _locked),
    over("plot spectra cut.h5", "cut.h5: ", 3, _truncated),
    over("plot run-magnitude run/", "run holds no statistics file", 3, _empty_folder),
    over("plot run-neurons a.h5 b.h5", "are both of step 7", 3, _of_one_step),
    # report
    reading("report nowhere.h5", "nowhere.h5: ", 3),
    reading("report stats.h5 -o stats.h5 --force", "stats.h5: is also an input", 5),
    reading("report stats.h5 -o no/such/report.html", "no/such/report.html: ", 5),
    reading("report stats.h5 -o /dev/full", "/dev/full: ", 5),
    over("report stats.h5 -o locked/report.html", "locked/report.html: ", 5, _locked),
    over("report cut.h5", "cut.h5: ", 3, _truncated),
    over("report run/", "2.h5: ", 3, _of_another_network),
    over("report a.h5 b.h5", "are both of step 7", 3, _of_one_step),
    over(
        "report stats.h5 --thresholds t.toml -o t.toml --force",
        "t.toml: is also an input",
        5,
        text("t.toml", ""),
    ),
    # diagnose
    reading("diagnose", "there is no file to diagnose"),
    reading("diagnose stats.h5 --format xml", "'--format'"),
    reading("diagnose stats.h5 --fail-on info", "'--fail-on'"),
    reading("diagnose stats.h5 nowhere.h5", "nowhere.h5: ", 3),
    over("diagnose stats.h5 cut.h5 --format sarif", "cut.h5: ", 3, _truncated),
]
