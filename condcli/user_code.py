"""Code that is not ours: how it is run, and how `FILE.py:function` and `a.module:function` name it.

Naming such a function on the command line asks for its file to be run; nothing here runs unasked.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from condcli.errors import (
    FROM_OUTSIDE,
    CondcliError,
    InputError,
    UsageError,
    is_out_of_memory,
    text_of,
)

LONGEST_CAUSE = 200  # characters of someone else's error message in our one line
_kept: dict[Path, ModuleType] | None = None  # modules that have run, where each is to run once


def load_function(spec: str) -> Callable[..., Any]:
    """The function or class that `spec` names, after running the module that defines it.

    Modules beside FILE.py, or under the current folder for a package, can be imported by it as
    if Python had been started there. Raises InputError when the file, module or function is
    missing or the module fails; call the function under `errors_reported` to the same end.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise UsageError(
            f"'{spec}' names no function",
            "write FILE.py:function or package.module:function",
        )
    with errors_reported(spec):
        module = _run_file(Path(place)) if place.endswith(".py") else _import_module(place)
    owner, _, last = name.rpartition(".")  # a class method, as in Network.from_config
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise _no_such_function(getattr(module, owner, module), place, last)
    return found  # type: ignore[no-any-return]  # callable(Any) does not narrow


@contextmanager
def foreign_code(explained: Callable[[BaseException], CondcliError]) -> Iterator[None]:
    """Runs code that is not ours: `explained` makes one CondcliError of whatever it raises.

    That includes SystemExit, which must not decide our exit code, and panics of libraries in Rust.
    Our own errors, a lack of memory and what comes from outside (Ctrl-C, SIGTERM) pass. What the
    code prints goes to stderr: stdout is for results. Where it has left the current folder it is
    brought back, so that relative paths stay what the person meant.
    """
    try:
        with redirect_stdout(sys.stderr), _here():
            yield
    except (CondcliError, *FROM_OUTSIDE):
        raise
    except BaseException as error:
        if is_out_of_memory(error):
            raise
        raise explained(error) from error


@contextmanager
def _here() -> Iterator[None]:
    folder = _current_folder()
    try:
        yield
    finally:
        if folder is not None and _current_folder() != folder:
            os.chdir(folder)


def _current_folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it has been removed
        return None


@contextmanager
def errors_reported(spec: str) -> Iterator[None]:
    """`foreign_code` of what `spec` names: an InputError with the line of the user's file."""

    def explained(error: BaseException) -> InputError:
        return InputError(
            f"{spec}: {_place_in_file(error, _file_of(spec))}{one_line(error)}",
            _remedy(error),
        )

    with foreign_code(explained):
        yield


def one_line(error: BaseException) -> str:
    """`Type: message` of someone else's error, cut to a length that a line can take."""
    text = error.msg if isinstance(error, SyntaxError) else text_of(error)
    words = " ".join(text.split())
    cause = words if len(words) <= LONGEST_CAUSE else f"{words[:LONGEST_CAUSE]}…"
    return f"{type(error).__name__}: {cause}" if cause else type(error).__name__


def _remedy(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"install what provides {error.name}, or put its folder on PYTHONPATH"
    return "correct the code, then run again"


@contextmanager
def files_run_once() -> Iterator[None]:
    """Within, each FILE.py runs once, though several checkpoints ask for it."""
    global _kept
    _kept = {}
    try:
        yield
    finally:
        _kept = None


def _run_file(path: Path) -> ModuleType:
    where = path.resolve()
    if _kept is not None and where in _kept:
        return _kept[where]
    if not path.is_file():
        near = get_close_matches(path.name, [file.name for file in path.parent.glob("*.py")])
        raise InputError(
            f"{path}: no such file",
            f"did you mean {path.with_name(near[0])}?" if near else "check the path before the ':'",
        )
    name = f"user_code_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:  # importlib's types allow it; a .py file has a loader
        raise InputError(f"{path}: cannot be loaded as Python", "give a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    try:
        with _importing_from(path.parent.resolve()):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    if _kept is not None:
        _kept[where] = module
    return module


def _import_module(name: str) -> ModuleType:
    try:
        with _importing_from(Path.cwd()):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there; something that it imports is not
        raise InputError(
            f"no module named '{error.name}'",
            "run from the folder that holds it, install it, or write FILE.py:function",
        ) from error


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Imports look in `folder` first, and leave no __pycache__ in it."""
    writes_no_bytecode = sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        with suppress(ValueError):  # the code may have taken it out
            sys.path.remove(str(folder))
        sys.dont_write_bytecode = writes_no_bytecode


def _no_such_function(module: ModuleType | type, place: str, name: str) -> InputError:
    if hasattr(module, name):
        return InputError(f"{place}: '{name}' is not a function", "name a function or a class")
    callables = [key for key, value in vars(module).items() if callable(value)]
    near = get_close_matches(name, callables)
    return InputError(
        f"{place}: has no function '{name}'",
        f"did you mean '{near[0]}'?" if near else "check the name after the ':'",
    )


def _file_of(spec: str) -> Path | None:
    place = spec.rpartition(":")[0]
    if place.endswith(".py"):
        return Path(place)
    file = getattr(sys.modules.get(place), "__file__", None)
    return Path(file) if file else None


def _place_in_file(error: BaseException, file: Path | None) -> str:
    """`line N: ` where the user's file gave up control, or nothing when it is not to blame."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{Path(error.filename).name}, line {error.lineno}: "
    if file is None:
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == file.resolve()]
    return f"line {lines[-1]}: " if lines else ""
