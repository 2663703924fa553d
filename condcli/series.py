"""Several checkpoints in one call: a statistics file each, and no bad one stops the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condcli.errors import CannotFinishError, CondcliError, InputError, UnsafeError, UsageError
from condcli.inputs import Shared
from condcli.output.summary import summary_line
from condcli.output.terminal import complain, emit, is_quiet, notice
from condcli.statsfile import check_output
from condcli.user_code import files_run_once

if TYPE_CHECKING:
    from condcli.data import ProbeSet
    from condcli.stats import ProbeStats

SUFFIX = ".h5"
NAMED = 20  # of the checkpoints that failed, in the last line
# Of a checkpoint, its file, the data and title=TEXT: the statistics, and what is to be said of them
Measured = Callable[..., tuple["ProbeStats", list[str]]]


class FailedError(CondcliError):
    """Some checkpoints could not be probed; the exit code is that of the first one."""

    def __init__(self, codes: Mapping[Path, int], of: int) -> None:
        more = f" and {len(codes) - NAMED} more" if len(codes) > NAMED else ""
        super().__init__(
            f"{len(codes)} of {of} checkpoints could not be probed: "
            f"{', '.join(map(str, [*codes][:NAMED]))}{more}",
            "see above why; correct them or leave them out",
        )
        self.exit_code = next(iter(codes.values()))


def is_wanted(models: Sequence[Path], output: str | None) -> bool:
    """Whether the output is a folder, with a file for each checkpoint."""
    return len(models) > 1 or (
        output is not None and (output.endswith("/") or Path(output).is_dir())
    )


def probe_each(
    models: Sequence[Path],
    output: str | None,
    measured: Measured,
    *,
    data: str | None,
    force: bool,
    inputs: Sequence[Path],
) -> None:
    """Probe all checkpoints in order, each into a file of its name in the folder ``output``.

    All outputs are checked first. What is wrong with one is said at once, and FailedError is
    raised at the end. What is no one checkpoint's fault stops the others, too: short memory or
    disks, signals, missing data, and wrong usage before one has been probed.
    """
    from condcli.capture.ranks import launched

    if output is None:
        raise UsageError(
            "the statistics of several checkpoints need a folder", "name it with -o FOLDER"
        )
    if launched():
        raise UsageError(
            "the processes of torchrun share the work of one checkpoint, not of several",
            "start torchrun once for each",
        )
    folder = Path(output)
    files = files_in(folder, models)
    shared, said, codes = _shared(data), set[str](), dict[Path, int]()
    with _made(folder), files_run_once():
        _check_outputs(files, force=force, inputs=inputs)
        for number, (model, file) in enumerate(files.items(), 1):
            try:
                stats, remarks = measured(
                    model, file, shared, title=f"probing {number} of {len(files)}"
                )
            except (InputError, UnsafeError, UsageError) as error:
                if isinstance(error, UsageError) and len(codes) == number - 1:
                    raise
                codes[model] = error.exit_code
                where = "" if str(model) in error.message else f"{model}: "
                complain(f"failed: {where}{error}")
                continue
            if not is_quiet():
                emit(summary_line(stats, file))
            for remark in remarks:
                if remark not in said:  # most hold for every checkpoint
                    notice(f"{model}: {remark}")
            said.update(remarks)
    if codes:
        raise FailedError(codes, len(files))


def files_in(folder: Path, models: Iterable[Path]) -> dict[Path, Path]:
    """Each checkpoint's statistics file: of its own name, but `.h5`, in the folder.

    Raises UsageError when two would have the same.
    """
    model_of: dict[Path, Path] = {}
    for model in models:
        file = folder / f"{_name(model)}{SUFFIX}"
        if file in model_of:
            raise UsageError(
                f"{model_of[file]} and {model} would both be written to {file}",
                "probe them apart, into other folders",
            )
        model_of[file] = model
    return {model: file for file, model in model_of.items()}


def _name(model: Path) -> str:
    """Of a file without its ending, of a folder whole; `.` and `..` have names, too."""
    path = model.resolve() if model.name in ("", "..") else model
    return path.name if path.is_dir() else path.stem


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """The folder is there within, made if need be; one that was made and stays empty goes again."""
    if folder.is_dir():
        yield
        return
    try:
        folder.mkdir()
    except OSError as error:
        raise CannotFinishError(
            f"{folder}: the folder for the statistics cannot be made ({error.strerror})",
            "name another one with -o",
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()


def _check_outputs(files: Mapping[Path, Path], *, force: bool, inputs: Sequence[Path]) -> None:
    """Raise what `check_output` would for any of the files; checkpoints are inputs, too."""
    models = {model.resolve() for model in files}
    for file in files.values():
        whole = file.resolve()
        own = [place for place in (whole, *whole.parents) if place in models]
        check_output(file, force=force, inputs=[*inputs, *own])


def _shared(spec: str | None) -> Shared:
    """The data, of which the same in the same normalisation are opened once."""
    from condcli.data import open_data

    @lru_cache(maxsize=2)  # as given, and as the checkpoints' own word normalises them
    def opened(name: str, **options: Any) -> ProbeSet:
        try:
            return open_data(name, **options)
        except InputError as error:
            if spec is None:
                raise
            # Missing for every checkpoint alike: of a kind that no series passes over.
            raise CondcliError(error.message, error.remedy) from error

    return Shared(spec, opened)
