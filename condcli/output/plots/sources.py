"""What is drawn, and how it was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import Literal

from condcli import statsfile
from condcli.analysis.defaults import DOMINATION_THRESHOLD, PERCENT
from condcli.analysis.steps import files_of, note_on, numbered
from condcli.analysis.trajectory import Point, trajectory
from condcli.errors import InputError, UsageError
from condcli.output.headline import headline
from condcli.output.terminal import notice
from condcli.stats import ProbeStats


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the person chose."""

    layers: str | None = None  # a glob on the names of layers or activations
    percent: float = PERCENT  # 100·p of κ_p
    threshold: float = DOMINATION_THRESHOLD
    log_steps: bool = False
    workers: int = 1  # layers whose eigenvalues are computed side by side


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a figure shows of a run, so that nothing else is computed."""

    kappa: bool = False  # takes all eigenvalues, not only the largest
    layers: Literal["all", "last", "none"] = "all"  # of those that the options choose


EVERYTHING = Needs(kappa=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A statistics file under the name that it has in the figure."""

    name: str
    path: Path
    stats: ProbeStats

    @property
    def headline(self) -> str:
        """What was measured, on what, how."""
        return headline(self.stats.provenance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run under the name that it has in the figure."""

    name: str
    path: Path  # its folder
    points: Sequence[Point]  # by ascending step, with what the figure needs

    @property
    def headline(self) -> str:
        """The same, of the last step."""
        return headline(self.points[-1].provenance)


def samples_of(paths: Sequence[Path], labels: Sequence[str] | None) -> list[Sample]:
    """The files, by their labels or else their own names.

    Raises `UsageError` for another number of labels, and `InputError` as the reader does.
    """
    for path in paths:
        if path.is_dir():
            raise UsageError(f"{path} is a folder", "name a file in it, or choose a KIND run-…")
    names = _named(paths, labels, "file")
    return [
        Sample(name=name, path=path, stats=statsfile.read(path))
        for name, path in zip(names, paths, strict=True)
    ]


def runs_of(
    paths: Sequence[Path],
    labels: Sequence[str] | None,
    options: Options,
    needs: Needs = EVERYTHING,
) -> list[Run]:
    """Each folder as a run, and all files together as one; names and errors as of `samples_of`."""
    folders = {path: [path] for path in paths if path.is_dir()}
    files = [path for path in paths if path not in folders]
    if files:
        folders[files[0].absolute().parent] = files
    names = _named(list(folders), labels, "run")
    runs = []
    for name, (folder, members) in zip(names, folders.items(), strict=True):
        points = trajectory(
            members,
            percent=options.percent if needs.kappa else None,
            workers=options.workers,
            layers=_layers(folder, members, options, needs),
        )
        runs.append(Run(name=name, path=folder, points=points))
    for said in dict.fromkeys(note_on(run.points[0].step_from) for run in runs):
        notice(said)
    return runs


def inputs_of(paths: Sequence[Path]) -> list[Path]:
    """The files that paths stand for, none of which is to be replaced."""
    return files_of(paths)


def _layers(folder: Path, members: Sequence[Path], options: Options, needs: Needs) -> str | None:
    """A glob for the layers of a run that are needed; errors as of `chosen`."""
    if needs.layers == "none":
        return ""
    if needs.layers == "all" and options.layers is None:
        return None
    first = statsfile.read(numbered(files_of(members))[0].path)
    names = chosen(first.layers, options, what="layer", where=folder)
    return escape(names[-1]) if needs.layers == "last" else options.layers


def chosen(names: Iterable[str], options: Options, *, what: str, where: Path) -> list[str]:
    """The names that the glob matches, in their order.

    Raises `UsageError` where it matches none, and `InputError` where there is none at all.
    """
    known = list(names)
    if not known:
        raise InputError(f"{where}: there is no {what} in it to plot", f"plot a file with {what}s")
    found = [name for name in known if options.layers is None or fnmatchcase(name, options.layers)]
    if not found:
        raise UsageError(
            f"no {what} of {where} matches {options.layers!r}",
            f"they are named {', '.join(known[:5])} …",
        )
    return found


def some(names: Sequence[str], most: int, *, what: str) -> list[str]:
    """At most so many of the names: the first, the last, and those between in even distances.

    Where that leaves names out, a note says so.
    """
    if len(names) <= most:
        return list(names)
    notice(f"note: shows {most} of {len(names)} {what}; choose others with --layers")
    return [names[round(i * (len(names) - 1) / (most - 1))] for i in range(most)]


def _named(paths: Sequence[Path], labels: Sequence[str] | None, what: str) -> list[str]:
    """A name for each: as told, else the end of its path that tells it from the others."""
    if labels:
        if len(labels) != len(paths):
            raise UsageError(
                f"{len(labels)} labels are given for {len(paths)} {what}s",
                f"pass --label once for each {what}",
            )
        return list(labels)
    short = [path.absolute().name.removesuffix(".h5") for path in paths]
    return short if len(set(short)) == len(short) else [str(path) for path in paths]
