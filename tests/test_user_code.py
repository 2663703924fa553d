import os
import sys
from pathlib import Path

import pytest

from condcli.errors import InputError, UsageError
from condcli.user_code import errors_reported, files_run_once, load_function


@pytest.fixture
def code(tmp_path: Path):
    def write(text: str, name: str = "mine.py") -> Path:
        file = tmp_path / name
        file.write_text(text)
        return file

    return write


def test_a_function_of_a_file_is_found_and_leaves_no_trace(code, tmp_path):
    file = code("def answer():\n    return 42\n")
    path = list(sys.path)
    assert load_function(f"{file}:answer")() == 42
    assert sys.path == path
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.py"]


def test_a_file_imports_what_lies_beside_it(code):
    code("VALUE = 7\n", "neighbour_of_mine.py")
    file = code("from neighbour_of_mine import VALUE\ndef value():\n    return VALUE\n")
    assert load_function(f"{file}:value")() == 7


def test_a_function_of_a_module_in_the_current_folder_is_found(code, monkeypatch, tmp_path):
    (tmp_path / "my_package_of_nets").mkdir()
    code("def net():\n    return 'net'\n", "my_package_of_nets/small.py")
    monkeypatch.chdir(tmp_path)
    assert load_function("my_package_of_nets.small:net")() == "net"


def test_a_class_method_builds_too(code):
    file = code("class Net:\n    @classmethod\n    def tiny(cls):\n        return cls()\n")
    assert type(load_function(f"{file}:Net.tiny")()).__name__ == "Net"


def test_a_dataclass_with_postponed_annotations_works_in_a_file(code):
    file = code(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Thing:\n    size: int = 3\n"
    )
    assert load_function(f"{file}:Thing")().size == 3


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("def anwser(): ...\n", "answer", ["mine.py", "no function 'answer'", "mean 'anwser'?"]),
        ("answer = 3\n", "answer", ["'answer' is not a function"]),
        ("x = 1\ny = 1 / 0\n", "x", ["mine.py:x: line 2: ZeroDivisionError: division by zero"]),
        ("x = 1\ndef f(:\n", "f", ["mine.py, line 2: SyntaxError: invalid syntax"]),
        ("import sys\nsys.exit('no\\nmore')\n", "f", ["line 2: SystemExit: no more"]),
        ("import absent_module_x\n", "f", ["ModuleNotFoundError", "install what provides absent_"]),
        ("class A: ...\n", "A.build", ["no function 'build'"]),
        ("", "f", ["no function 'f'"]),
    ],
)
def test_a_faulty_file_is_one_line_with_the_cause(code, text, name, words):
    file = code(text)
    with pytest.raises(InputError) as caught:
        load_function(f"{file}:{name}")
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_missing_file_is_named_with_its_near_match(code, tmp_path):
    code("")
    with pytest.raises(InputError, match=r"min\.py: no such file; did you mean .*mine\.py\?"):
        load_function(f"{tmp_path / 'min.py'}:f")


def test_a_missing_module_is_not_blamed_on_the_code():
    with pytest.raises(InputError, match="no module named 'absent_package_x'"):
        load_function("absent_package_x.nets:f")


@pytest.mark.parametrize("spec", ["mine.py", ":f", "mine.py:", ""])
def test_a_spec_without_a_function_is_wrong_usage(spec):
    with pytest.raises(UsageError, match="names no function"):
        load_function(spec)


def test_an_error_in_a_call_has_the_line_of_the_users_file(code):
    file = code("import math\n\ndef root(x):\n    return math.sqrt(x)\n")
    root = load_function(f"{file}:root")
    blamed = pytest.raises(InputError, match=r"mine\.py:root: line 4: ValueError")
    with blamed, errors_reported(f"{file}:root"):
        root(-1)


def test_a_long_error_is_cut():
    with pytest.raises(InputError) as caught, errors_reported("memory"):
        raise ValueError("x" * 5000)
    assert len(str(caught.value)) < 300


def test_what_the_code_prints_is_not_on_stdout(code, capsys):
    file = code("print('loading')\ndef f(): print('calling')\n")
    function = load_function(f"{file}:f")
    with errors_reported(f"{file}:f"):
        function()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "loading\ncalling\n"


def test_a_panic_of_a_library_is_an_error_of_what_called_it():
    class PanicError(BaseException): ...

    with pytest.raises(InputError, match="words: PanicError: no"), errors_reported("words"):
        raise PanicError("no")


def test_code_that_leaves_the_current_folder_is_brought_back(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    file = code("import os\ndef f(): os.chdir('elsewhere')\n")
    function = load_function(f"{file}:f")
    with errors_reported("mine.py:f"):
        function()
        assert os.getcwd() == str(tmp_path / "elsewhere")
    assert os.getcwd() == str(tmp_path)


def test_files_run_once_where_they_are_to(code, capsys):
    file = code("print('ran')\ndef f(): ...\n")
    with files_run_once():
        assert load_function(f"{file}:f") is load_function(f"{file}:f")
    load_function(f"{file}:f")
    assert capsys.readouterr().err == "ran\n" * 2
