"""Data files and folders that are damaged, hostile, foreign, or fit nothing."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save

from tests.reliability.bad_models import FORCED, npz, saved, shared_tuple, with_pickle
from tests.reliability.bad_options import with_model
from tests.reliability.cases import Case
from tests.reliability.payload import Payload, flipped, pickled, zip_of

X, Y = np.ones((6, 64), np.float32), np.arange(6)
Content = bytes | Callable[[Path], bytes]
DAMAGED = "truncated, damaged or of another kind"


def data(
    name: str,
    at: str,
    content: Content,
    said: str,
    code: int = 3,
    *,
    options: str = "",
    prefix: str = "",
    **settings: Any,
) -> Case:
    """A case of one file, probed with the network for the digits."""

    def build(folder: Path) -> list[str]:
        with_model(folder)
        (folder / at).parent.mkdir(parents=True, exist_ok=True)
        (folder / at).write_bytes(content if isinstance(content, bytes) else content(folder))
        return ["probe", "model.pt", "--data", prefix + at, *options.split()]

    return Case(name, build, code, said, **settings)


def made(
    name: str, make: Callable[[Path], object], said: str, code: int = 3, *, words: str
) -> Case:
    """A case of files that are made, and the rest of the command line."""

    def build(folder: Path) -> list[str]:
        with_model(folder)
        make(folder)
        return ["probe", "model.pt", *words.split()]

    return Case(name, build, code, said)


def hdf5(fill: Callable[[Any], object]) -> bytes:
    image = io.BytesIO()
    with h5py.File(image, "w") as content:
        fill(content)
    return image.getvalue()


def _x_and(name: str, **options: Any) -> Callable[[Any], object]:
    def fill(content: Any) -> None:
        content["y"] = Y
        content.create_dataset(name, **options)

    return fill


def _linked(content: Any) -> None:
    content["y"] = Y
    content["x"] = h5py.ExternalLink("/etc/passwd", "x")


def _huge_chunk(content: Any) -> None:
    content["y"] = Y
    content.create_dataset(
        "x", (6, 1 << 26), dtype="f4", chunks=(6, 1 << 26), compression="gzip", fillvalue=1
    )


def idx(kind: int, axes: int, sizes: tuple[int, ...], content: bytes) -> bytes:
    return bytes((0, 0, kind, axes)) + struct.pack(f">{len(sizes)}I", *sizes) + content


def mnist(images: bytes, labels: bytes) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        raw = folder / "data" / "MNIST" / "raw"
        raw.mkdir(parents=True)
        (raw / "train-images-idx3-ubyte").write_bytes(images)
        (raw / "train-labels-idx1-ubyte").write_bytes(labels)

    return make


def picture(content: Content | None = None, *others: bytes) -> Callable[[Path], object]:
    """A folder of pictures: a good one, and these."""

    def make(folder: Path) -> None:
        for number, image in enumerate([png(), content or png(), *others]):
            place = folder / "images" / f"class{number}"
            place.mkdir(parents=True)
            (place / "a.png").write_bytes(image if isinstance(image, bytes) else image(folder))

    return make


def png(size: tuple[int, int] = (8, 8)) -> bytes:
    image = io.BytesIO()
    Image.new("L", size).save(image, "PNG")
    return image.getvalue()


def parquet(**columns: Any) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet as writer

    image = io.BytesIO()
    writer.write_table(pa.table(columns), image)
    return image.getvalue()


def run_lengths() -> bytes:
    """Two hundred million rows in some hundred bytes."""
    import pyarrow as pa
    from pyarrow import parquet as writer

    image = io.BytesIO()
    schema = pa.schema([("x", pa.bool_()), ("y", pa.bool_())])
    rows = pa.table({"x": [True] * 2**20, "y": [True] * 2**20}, schema)
    with writer.ParquetWriter(image, schema, compression="zstd") as file:
        for _ in range(65):
            file.write_table(rows, row_group_size=2**20)
    return image.getvalue()


def _pickled_cifar(folder: Path) -> None:
    place = folder / "data" / "cifar-10-batches-py"
    place.mkdir(parents=True)
    for name in [*(f"data_batch_{part}" for part in range(1, 6)), "test_batch", "batches.meta"]:
        (place / name).write_bytes(pickled(folder))


def _cut_cifar(folder: Path) -> None:
    place = folder / "data" / "cifar-10-batches-bin"
    place.mkdir(parents=True)
    (place / "test_batch.bin").write_bytes(bytes(3073 * 3))


def _saved_hf(state: object, arrow: bytes = b"") -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        place = folder / "set"
        place.mkdir()
        (place / "state.json").write_text(state if isinstance(state, str) else json.dumps(state))
        (place / "dataset_info.json").write_text("{}")
        (place / "data.arrow").write_bytes(arrow)

    return make


def _pipe(name: str) -> Callable[[Path], object]:
    return lambda folder: os.mkfifo(folder / name)


NPZ = npz(x=X, y=Y)
PT = saved({"x": torch.from_numpy(X), "y": torch.from_numpy(Y)})
SAFE = save({"x": X, "y": Y})
H5 = hdf5(lambda content: content.update(x=X, y=Y))
CSV = b"a,b,label\n1,2,0\n3,4,1\n"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n"
GOOD_STATE = {"_data_files": [{"filename": "data.arrow"}], "_fingerprint": "0", "_split": "train",
              "_format_columns": None, "_format_kwargs": {}, "_format_type": None,
              "_output_all_columns": False}  # fmt: skip
TEXT = "--target label"

CASES = [
    data("an npz cut short", "set.npz", NPZ[: len(NPZ) // 2], "set.npz"),
    data("a bit in an npz", "set.npz", flipped(NPZ, NPZ.index(X.tobytes()) + 9), "checksum"),
    data("an empty npz", "set.npz", b"", "set.npz"),
    data("a web page for an npz", "set.npz", b"<!DOCTYPE html><html>", "a web page"),
    data("a pointer for an npz", "set.npz", b"version https://git-lfs.github.com/", "git-LFS"),
    data("no target in an npz", "set.npz", npz(x=X), "no target, only x"),
    data("no input in an npz", "set.npz", npz(y=Y), "a target y and no input"),
    data("two targets", "set.npz", npz(x=X, y=Y, label=Y), "several targets"),
    data("unequal lengths", "set.npz", npz(x=X, y=Y[:4]), "x has 6 examples, but y has 4"),
    data("no examples", "set.npz", npz(x=X[:0], y=Y[:0]), "is empty"),
    data("words for targets", "set.npz", npz(x=X, y=np.array(["cat"] * 6)), "not real numbers"),
    data("complex inputs", "set.npz", npz(x=X * 1j, y=Y), "not real numbers"),
    data("infinite inputs", "set.npz", npz(x=X * np.inf, y=Y), "set.npz"),
    data("NaN among the inputs", "set.npz", npz(x=X * np.nan, y=Y), "set.npz"),
    data("labels that are no classes", "set.npz", npz(x=X, y=Y + 99), "set.npz"),
    data("labels below zero", "set.npz", npz(x=X, y=Y - 9), "set.npz"),
    data("inputs that do not fit", "set.npz", npz(x=X[:, :9], y=Y), "of shape 9 from set.npz"),
    data("one number for input", "set.npz", npz(x=np.ones(6), y=Y), "x has 1 axes"),
    data("code in an npz", "set.npz", lambda f: npz(
        x=np.array([Payload(f)] * 6, dtype=object), y=Y), "set.npz", 4, env=FORCED),
    data("a pickle called npz", "set.npz", pickled, "set.npz", 4, env=FORCED),
    data("a tensor file cut short", "set.pt", PT[:-9], "set.pt"),
    data("a bit in a tensor file", "set.pt", flipped(PT, PT.index(X.tobytes()) + 9), "checksum"),
    data("code in a tensor file", "set.pt", lambda f: saved({"x": Payload(f)}), "set.pt", 4,
         env=FORCED),
    data("code in an old tensor file", "set.pt", lambda f: saved(
        {"x": Payload(f)}, legacy=True), "set.pt", 4, env=FORCED),
    data("a tensor that repeats its memory", "set.pt", saved(
        {"x": torch.ones(1).expand(1 << 30, 64), "y": torch.ones(2)}), "are stored"),
    data("sparse inputs", "set.pt", saved({"x": torch.eye(6).to_sparse(), "y": torch.ones(6)}),
         "set.pt"),
    data("a number in a tensor file", "set.pt", saved(3), "holds a int"),
    data("three in a tensor file", "set.pt", saved((1, 2, 3)), "set.pt"),
    data("a tuple that cannot be hashed", "set.pt", lambda _: with_pickle(
        b"\x80\x02}" + shared_tuple() + b"K\x01s."), "tuples within tuples"),
    data("a safetensors file cut short", "set.safetensors", SAFE[:-1], "truncated or damaged"),
    data("a pickle called safetensors", "set.safetensors", pickled, "truncated or damaged",
         env=FORCED),
    data("an HDF5 file cut short", "set.h5", H5[: len(H5) // 2], DAMAGED),
    data("no HDF5 file", "set.h5", b"x,y\n1,2\n", DAMAGED),
    data("a link out of an HDF5 file", "set.h5", hdf5(_linked), "x is a link out of the data"),
    data("HDF5 data elsewhere", "set.h5", hdf5(_x_and(
        "x", shape=(6, 64), dtype="f4", external=[("/etc/passwd", 0, 1536)])),
        "x is stored in other files"),
    data("HDF5 data never written", "set.h5", hdf5(_x_and("x", shape=(6, 64), dtype="f4")),
         "x was never written"),
    data("HDF5 words", "set.h5", hdf5(_x_and("x", data=["cat"] * 6)), "not real numbers"),
    data("HDF5 groups only", "set.h5", hdf5(lambda content: content.create_group("x")),
         "has no data sets"),
    data("a chunk larger than memory should hold", "set.h5", hdf5(_huge_chunk), "in chunks of"),
    data("a table without rows", "set.csv", b"a,b,label\n", "no rows", options=TEXT),
    data("a table without names", "set.csv", b"1,2,3\n4,5,6\n", "the first line holds numbers"),
    data("a missing value", "set.csv", CSV + b"5,,0\n", "row 3: ", options=TEXT),
    data("a word among numbers", "set.csv", CSV + b"five,6,0\n", "'five' is no number",
         options=TEXT),
    data("a row too long", "set.csv", CSV + b"5,6,7,8\n", "line 4 has 4 columns", options=TEXT),
    data("two columns of one name", "set.csv", b"a,a,label\n1,2,0\n", "two columns", options=TEXT),
    data("no such column", "set.csv", CSV, "no column 'price'", 2, options="--target price"),
    data("a table that is not UTF-8", "set.csv", b"a,label\n\xff,1\n", "byte 8 is not UTF-8"),
    data("infinity in a table", "set.csv", CSV + b"inf,6,0\n", "row 3: the value is inf",
         options=TEXT),
    data("JSON cut short", "set.json", b'[{"a": 1, "label"', "set.json", options=TEXT),
    data("JSON that nests without end", "set.json", b"[" * 100_000, "set.json", options=TEXT),
    data("no JSON lines", "set.jsonl", b"hello\n", "set.jsonl", options=TEXT),
    data("no Parquet", "set.parquet", b"PAR1" + bytes(40) + b"PAR1", "set.parquet", options=TEXT),
    data("Parquet cut short", "set.parquet", lambda _: parquet(a=[1.0], label=[1])[:-5],
         "set.parquet", options=TEXT),
    data("far more rows than bytes", "set.parquet", lambda _: run_lengths(), "claims 136,314,880",
         options="--target y"),
    data("PostScript in a table", "set.parquet", lambda _: parquet(image=[EPS], label=[1]),
         "row 1: no image", options=TEXT),
    data("an empty text", "book.txt", b"", "book.txt: empty", prefix="text:"),
    data("a short text", "book.txt", b"hello", "5 tokens are too few", prefix="text:"),
    made("no tokenizer", lambda f: (f / "book.txt").write_bytes(b"a" * 999), "no such tokenizer",
         words="--data text:book.txt --tokenizer nowhere"),
    made("a pickle for a tokenizer", lambda f: (
        (f / "book.txt").write_bytes(b"a" * 999), (f / "tokenizer.json").write_bytes(pickled(f))),
        "not a tokenizer", words="--data text:book.txt --tokenizer ."),
    made("a pipe of data", _pipe("set.npz"), "set.npz", words="--data set.npz"),
    made("a pipe of text", _pipe("book.txt"), "book.txt", words="--data text:book.txt"),
    made("a folder of nothing", lambda f: (f / "set").mkdir(), "a folder of no known kind",
         words="--data set"),
    made("a folder called set.npz", lambda f: (f / "set.npz").mkdir(), "set.npz",
         words="--data set.npz"),
    made("no such data", lambda f: None, "nowhere.npz", words="--data nowhere.npz"),
    made("data of a mistyped name", lambda f: None, "did you mean digits",
         words="--data digit"),
    made("no pictures", lambda f: (f / "images" / "cats").mkdir(parents=True),
         "a class without images", words="--data imagefolder:images"),
    made("a damaged picture", picture(png()[:40]), "a.png: cannot be read as an image",
         words="--data imagefolder:images"),
    made("a picture of nothing", picture(b"\x89PNG"), "a.png: cannot be read as an image",
         words="--data imagefolder:images"),
    made("PostScript called a picture", picture(EPS), "a.png: cannot be read as an image",
         words="--data imagefolder:images"),
    made("code called a picture", picture(pickled), "a.png: cannot be read as an image",
         words="--data imagefolder:images"),
    made("MNIST that is not there", lambda f: None, "MNIST is not at", words="--data mnist"),
    made("MNIST cut short", mnist(idx(8, 3, (2, 28, 28), bytes(999)), idx(8, 1, (2,), bytes(2))),
         "has 1015 bytes instead of 1584", words="--data mnist"),
    made("MNIST of floats", mnist(idx(13, 3, (1, 28, 28), bytes(3136)), idx(8, 1, (1,), bytes(1))),
         "not an idx file of 3 axes", words="--data mnist"),
    made("MNIST that claims 2^96 bytes", mnist(
        idx(8, 3, (2**32 - 1,) * 3, bytes(9)), idx(8, 1, (1,), bytes(1))), "instead of",
        words="--data mnist"),
    made("CIFAR's pickles are others", _pickled_cifar, "data_batch_1: missing or damaged",
         words="--data cifar10"),
    made("CIFAR cut short", _cut_cifar, "test_batch.bin: has 9219 bytes",
         words="--data cifar10 --split test"),
    made("torchvision's pickles", lambda f: None, "is not opened here", 2,
         words="--data torchvision:LSUN"),
    made("a state of another place", _saved_hf(
        {"_data_files": [{"filename": "../model.pt"}]}), "names the file ../model.pt, outside",
        words="--data hfdataset:set"),
    made("a state that is no JSON", _saved_hf("{"), "damaged", words="--data hfdataset:set"),
    made("an empty data set", _saved_hf(GOOD_STATE), "damaged", words="--data hfdataset:set"),
    made("code for a data set", lambda f: _saved_hf(GOOD_STATE, pickle.dumps(Payload(f)))(f),
         "damaged", words="--data hfdataset:set"),
    data("an archive of other things", "set.npz", zip_of({"readme": b"hello"}), "set.npz"),
]  # fmt: skip
