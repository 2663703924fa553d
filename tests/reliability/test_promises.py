"""Promises that hold for the whole program: nothing unpickles unasked, nothing writes elsewhere."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.reliability.audit import LOG
from tests.reliability.bad_options import PROBE, with_model
from tests.reliability.formats import FORMATS
from tests.reliability.runner import Runner
from tests.reliability.sweep_writing import prepare

ROOT = Path(__file__).parents[2]
# Whatever could run code in a file, and the only functions that may.
ABLE = re.compile(
    r"(pickle|marshal|shelve|dill|joblib|cloudpickle)\.\w*(load|Unpickler)\w*|torch\.load"
    r"|torch\.(jit|export|package|hub|fx)\.\w*load\w*|(np|numpy)\.load|_Unpickler|eval|exec"
    r"|(\w+\.)*exec_module|yaml\.\w*load\w*|runpy\.\w+"
)
ALLOWED = {
    "models/formats/torch_file.py _load": "torch.load, with weights_only as --trust says",
    "models/formats/containers.py _pickle": "pickle.load, after --trust",
    "models/formats/programs.py read_torchscript": "torch.jit.load, after --trust",
    "models/formats/programs.py read_exported_program": "torch.export.load, after --trust",
    "models/formats/distributed_metadata.py _unpickled": "an unpickler that knows no real class",
    "models/formats/arrays.py read_arrays": "np.load of plain arrays",
    "data/array_files.py open_pt": "torch.load of tensors only",
    "data/array_files.py _arrays": "np.load of plain arrays",
    "data/digits.py open_digits": "np.load of condcli's own file",
    "data/cifar_pickles.py _batch": "bytes with CIFAR's checksums, and arrays only",
    "user_code.py _run_file": "what the command line names",
}


NOWHERE_ELSE = ("/dev/null", "/proc/self/fd/")  # nothing; what is open already


def calls_that_could_run_code() -> Iterator[tuple[str, ast.Call]]:
    for file in sorted((ROOT / "condcli").rglob("*.py")):
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.Call) and ABLE.fullmatch(ast.unparse(node.func)):
                        yield f"{file.relative_to(ROOT / 'condcli')} {function.name}", node


def test_only_the_named_functions_could_run_code() -> None:
    assert {place for place, _ in calls_that_could_run_code()} == set(ALLOWED)


def test_the_safe_way_of_reading_is_asked_for_by_name() -> None:
    for place, call in calls_that_could_run_code():
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        name = ast.unparse(call.func)
        if name == "np.load":
            assert given["allow_pickle"] == "False", place
        if name == "torch.load":
            assert given["weights_only"] in ("True", "weights_only"), place


def in_photos(folder: Path) -> None:
    FORMATS["PNG"].make(folder)
    shutil.copytree(folder / "photos" / "cat", folder / "photos" / "dog")
    (folder / "net.py").write_text(
        "from torch import nn\n"
        "def build(): return nn.Sequential(nn.Flatten(), nn.Linear(3 * 28 * 28, 2))\n"
    )
    import torch

    torch.save({"1.weight": torch.ones(2, 2352), "1.bias": torch.zeros(2)}, folder / "model.pt")


def nothing(folder: Path) -> None:
    """Make nothing more."""


@pytest.mark.parametrize(
    ("line", "more"),
    [
        (f"{PROBE} -o new.h5", nothing),
        (f"{PROBE} -o new.h5 --save-every 0", nothing),
        (f"{PROBE} -o folder", lambda folder: (folder / "folder").mkdir()),
        ("probe model.pt --arch net.py:build --data imagefolder:photos -o new.h5", in_photos),
        ("merge 1.h5 2.h5 -o new.h5", nothing),
        ("spectrum out.h5 --cache", nothing),
        ("spectrum out.h5 --format json", nothing),
        ("domination out.h5 --format csv", nothing),
        ("inspect model.pt", nothing),
        ("inspect model.pt --scaffold new.py", nothing),
        ("arch list", nothing),
        ("data list", nothing),
    ],
)
def test_nothing_is_written_elsewhere_and_nothing_is_sent(
    line: str, more: Callable[[Path], object], runner: Runner, tmp_path: Path
) -> None:
    log, folder = tmp_path / "log", tmp_path / "folder"
    log.touch()
    folder.mkdir()
    prepare(folder, width=8)
    more(folder)
    inputs = {path.name for path in folder.iterdir()} - {"out.h5", "folder"}
    outcome = runner.run(
        line.split(), folder, env={LOG: str(log)}, inject="tests.reliability.audit:install"
    )
    assert outcome.code == 0, outcome
    for told in log.read_text().splitlines():
        event, path = told.split("\t")
        assert event.startswith(("open", "os.")), told
        assert Path(path).is_relative_to(folder) or path.startswith(NOWHERE_ELSE), told
        assert Path(path).name not in inputs, told


def test_what_is_written_is_seen(runner: Runner, tmp_path: Path) -> None:
    with_model(tmp_path)
    log = tmp_path / "log"
    log.touch()
    runner.run(
        [*PROBE.split(), "-o", "new.h5"],
        tmp_path,
        env={LOG: str(log)},
        inject="tests.reliability.audit:install",
    )
    assert f"{tmp_path}" in log.read_text()
