"""No code from a data file runs, in any container; and the canary can sing."""

import hashlib
import io
import pickle
import warnings
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image
from torchvision import datasets

from condcli.data import open_data
from condcli.errors import InputError, UnsafeError
from tests.canary import Canary

EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 4 4
%%EndComments
showpage
"""


def in_npz(folder, canary):
    np.savez(folder / "set.npz", x=np.array([Canary(canary)], dtype=object), y=np.ones(1))
    return folder / "set.npz", lambda file: np.load(file, allow_pickle=True)["x"]


def in_pt(folder, canary):
    torch.save({"x": torch.ones(2, 2), "y": Canary(canary)}, folder / "set.pt")
    return folder / "set.pt", lambda file: torch.load(file, weights_only=False)


def in_legacy_pt(folder, canary):
    content = {"x": torch.ones(2, 2), "y": Canary(canary)}
    torch.save(content, folder / "set.pt", _use_new_zipfile_serialization=False)
    return folder / "set.pt", lambda file: torch.load(file, weights_only=False)


def in_renamed_pickle(ending):
    def hide(folder, canary):
        file = folder / f"set{ending}"
        file.write_bytes(pickle.dumps(Canary(canary)))
        return file, lambda file: pickle.loads(file.read_bytes())

    return hide


HIDDEN = {
    "an array of objects": in_npz,
    "a tensor file": in_pt,
    "an old tensor file": in_legacy_pt,
    **{
        f"a pickle called set{ending}": in_renamed_pickle(ending)
        for ending in (".safetensors", ".npz", ".pt", ".h5", ".parquet", ".csv", ".json")
    },
}


@pytest.mark.parametrize("forced", ["0", "1"])
@pytest.mark.parametrize("place", HIDDEN)
def test_code_in_data_does_not_run(tmp_path, canary, place, forced, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", forced)
    file, unsafely = HIDDEN[place](tmp_path, canary)
    with pytest.raises((UnsafeError, InputError), match=file.name):
        open_data(str(file))
    assert not canary.exists()
    unsafely(file)
    assert canary.exists()


@pytest.mark.parametrize("known", [False, True])
def test_code_in_cifars_pickles_does_not_run_even_with_the_right_checksum(
    tmp_path, canary, known, monkeypatch
):
    folder = tmp_path / datasets.CIFAR10.base_folder
    folder.mkdir()
    file = folder / "test_batch"
    file.write_bytes(pickle.dumps({"data": Canary(canary), "labels": [1]}))
    checksum = hashlib.md5(file.read_bytes()).hexdigest() if known else "0" * 32
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", checksum]])
    with pytest.raises(InputError, match="test_batch: missing or damaged"):
        open_data("cifar10", root=tmp_path, split="test")
    assert not canary.exists()
    pickle.loads(file.read_bytes())
    assert canary.exists()


@pytest.fixture
def ghostscript(monkeypatch, canary):
    """Pillow's way to it, watched: PostScript is a program, and it runs programs."""

    def sing(*args, **kwargs):
        canary.touch()
        raise OSError("no Ghostscript")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", sing)


def sings(picture, canary):
    with suppress(OSError), Image.open(picture) as image:
        image.load()
    return canary.exists()


def test_a_program_that_is_called_a_picture_is_not_run(tmp_path, canary, ghostscript):
    file = tmp_path / "images" / "cats" / "a.png"
    file.parent.mkdir(parents=True)
    file.write_bytes(EPS)
    with pytest.raises(InputError, match=r"a\.png: cannot be read as an image"):
        list(open_data(f"imagefolder:{tmp_path / 'images'}").batches(1))
    assert not canary.exists()
    assert sings(file, canary)


def test_a_program_among_the_pictures_of_a_table_is_not_run(tmp_path, canary, ghostscript):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.table({"image": pa.array([EPS], pa.binary()), "label": [1]})
    parquet.write_table(table, tmp_path / "set.parquet")
    with pytest.raises(InputError, match="row 1: no image that can be read"):
        list(open_data(str(tmp_path / "set.parquet")).batches(1))
    assert not canary.exists()
    assert sings(io.BytesIO(EPS), canary)


def test_a_program_among_the_pictures_of_torchvision_is_not_run(tmp_path, canary, monkeypatch):
    def sing(command, **options):
        canary.touch()
        raise OSError("no Ghostscript")

    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")
    monkeypatch.setattr(EpsImagePlugin, "subprocess", SimpleNamespace(check_call=sing))
    file = tmp_path / "eurosat" / "2750" / "Forest" / "a.png"
    file.parent.mkdir(parents=True)
    file.write_bytes(EPS)
    with pytest.raises(InputError, match=r"torchvision:EuroSAT is not whole"):
        open_data("torchvision:EuroSAT", root=tmp_path)
    assert not canary.exists()
    assert EpsImagePlugin.gs_binary == "gs"
    assert sings(file, canary)


def test_a_huge_picture_is_no_warning(tmp_path, monkeypatch):
    folder = tmp_path / "images" / "cats"
    folder.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(folder / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # of which up to twice as many are opened
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert next(open_data(f"imagefolder:{folder.parent}").batches(1))[0].shape == (1, 3, 4, 4)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with pytest.raises(InputError, match=r"a\.png: cannot be read"):
        open_data(f"imagefolder:{folder.parent}")
