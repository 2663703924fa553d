import subprocess
import sys
from pathlib import Path

import pytest

from condcli.data import known, open_data
from condcli.data.catalogue import KNOWN
from condcli.errors import InputError, UsageError


def test_importing_the_package_imports_no_torch():
    code = (
        "import sys, condcli.data; condcli.data.known(); slow = {'torch', 'torchvision', 'PIL', "
        "'scipy', 'h5py', 'pyarrow'}; sys.exit(bool(slow & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_known_name_and_form_has_a_short_description():
    assert set(KNOWN) < set(known())
    for name, description in known().items():
        assert len(name) + len(description) < 76


@pytest.mark.parametrize("name", [name for name in KNOWN if name != "digits"])
def test_a_known_set_that_is_not_there_says_where_it_was_looked_for(name, tmp_path):
    with pytest.raises(InputError, match="is not at") as caught:
        open_data(name, root=tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "--root" in caught.value.remedy


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("cifar", "no data called 'cifar'; did you mean cifar10"),
        ("mnits", "did you mean mnist"),
        ("MNIST", "did you mean mnist"),
        ("randm:3x32x32", "did you mean random:3x32x32"),
        ("imagefolder:", "did you mean imagefolder:DIR"),
        ("txt:notes", "did you mean text:FILE"),
        ("torchvison:EuroSAT", "did you mean torchvision:NAME"),
        ("", "no data called ''; there are digits, mnist"),
        ("nothing like it", "there are digits, mnist"),
    ],
)
def test_an_unknown_name_gets_near_matches_and_the_list(spec, words):
    with pytest.raises(InputError, match=words) as caught:
        open_data(spec)
    assert "fashion-mnist" in caught.value.remedy
    assert "FILE.npz" in caught.value.remedy


def test_a_file_or_folder_that_is_no_data_gets_a_hint(tmp_path):
    with pytest.raises(InputError, match=f"write imagefolder:{tmp_path}"):
        open_data(str(tmp_path))
    (tmp_path / "set.csv").touch()
    with pytest.raises(InputError, match=r"give one of its files, such as .*set\.csv, or write"):
        open_data(str(tmp_path))
    (tmp_path / "notes.md").touch()
    with pytest.raises(InputError, match=r"write text:.*notes\.md if it is text; else .*\.npz"):
        open_data(str(tmp_path / "notes.md"))
    (tmp_path / "mine.py").touch()
    with pytest.raises(InputError, match=r"mine\.py: a file of code; write .*mine\.py:function"):
        open_data(str(tmp_path / "mine.py"))


@pytest.mark.parametrize(
    ("spec", "option"),
    [
        ("digits", {"target": "y"}),
        ("digits", {"tokenizer": "bytes"}),
        ("random:3", {"transform": "torchvision:ResNet18_Weights.DEFAULT"}),
        ("set.npz", {"length": 64}),
        ("set.csv", {"download": True}),
        ("mine.py:data", {"root": Path("there")}),
        ("text:FILE", {"transform": "mine.py:crop"}),
        ("imagefolder:here", {"target": "label"}),
        ("torchvision:FakeData", {"target": "label"}),
    ],
)
def test_an_option_that_the_data_have_no_use_for_is_wrong_usage(spec, option):
    with pytest.raises(UsageError, match=f"--{next(iter(option))}.* has no use for {spec}; drop"):
        open_data(spec, **option)


def test_a_transform_and_a_normalisation_exclude_each_other():
    with pytest.raises(UsageError, match="--transform and --normalize exclude each other"):
        open_data("cifar10", transform="mine.py:crop", normalize="none")


@pytest.mark.parametrize("spec", ["random:3", "set.csv", "mine.py:data", "imagefolder:here"])
def test_data_without_splits_have_none(spec):
    with pytest.raises(UsageError, match="has no split 'test'; give --split all, or leave it out"):
        open_data(spec, split="test")
