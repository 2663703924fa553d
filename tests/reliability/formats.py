"""A small file of every format that condcli reads, and two ways to read it.

`read` is condcli's. `plain` is another decoder, for formats without a checksum: a changed byte of
their content cannot be noticed, but must not become other numbers than those that stand there now.
"""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import safetensors.numpy
import torch
from pyarrow import parquet

from condcli.analysis.diagnosis import DEFAULTS
from condcli.analysis.diagnosis.threshold_file import read_thresholds, tomllib
from condcli.batch import leaves
from condcli.data import open_data
from condcli.models import read_checkpoint
from condcli.statsfile import read as read_stats
from condcli.statsfile import write as write_stats
from tests.data.tokenizers import word_tokenizer
from tests.synthetic import activation, layer, stats, wide

Numbers = Mapping[str, np.ndarray]
_RANDOM = np.random.default_rng(0)
_WEIGHTS = {
    "fc.weight": _RANDOM.standard_normal((6, 4), dtype=np.float32),
    "fc.bias": _RANDOM.standard_normal(6, dtype=np.float32),
}
_TENSORS = {name: torch.from_numpy(values) for name, values in _WEIGHTS.items()}
_X = _RANDOM.standard_normal((12, 5), dtype=np.float32)
_Y = np.arange(12) % 3
_IMAGES = _RANDOM.integers(0, 256, (10, 28, 28), dtype=np.uint8)
_BOUNDS = """# bounds of a diagnosis
depth_decades_warning = 4.5
depth_decades_error = 9
kappa = 12_000
"full_share" = 0.75
dying_share_error = 8.5e-1
"""
_BOOK = "the cat sat on the mat and a dog sat on the cat " * 15


@dataclass(frozen=True)
class Format:
    """One format: the file that is damaged, and how all is made and read in a folder."""

    file: str
    make: Callable[[Path], object]
    read: Callable[[Path], Numbers]
    plain: Callable[[Path], Numbers] | None = None
    named: bool = False  # weights: a network refuses other names than its own


def model(name: str) -> Callable[[Path], Numbers]:
    def read(folder: Path) -> Numbers:
        found = read_checkpoint(folder / name).state_dict or {}
        return {key: tensor.numpy() for key, tensor in found.items()}

    return read


def data(spec: str, **options: Any) -> Callable[[Path], Numbers]:
    def read(folder: Path) -> Numbers:
        where = {key: folder / value for key, value in options.items() if key == "root"}
        where |= {key: str(folder / value) for key, value in options.items() if key == "tokenizer"}
        given = {"normalize": "none", **options, **where} if "tokenizer" not in options else where
        probe_set = open_data(spec.format(folder), samples=None, **given)
        batches = probe_set.batches(64)
        tensors = [tensor for batch in batches for side in batch for tensor in leaves(side)]
        return {str(number): tensor.numpy() for number, tensor in enumerate(tensors)}

    return read


def every_record(folder: Path) -> Numbers:
    found = read_stats(folder / "stats.h5")
    records = [*found.layers.values(), *found.activations.values(), *found.skipped.values()]
    return {
        f"{record.name} {key}": np.asarray(value)
        for record in records
        for key in record.__dataclass_fields__
        if (value := getattr(record, key)) is not None and not isinstance(value, str)
    }


def thresholds(folder: Path) -> Numbers:
    found = asdict(read_thresholds(folder / "t.toml"))
    return {name: np.array(value) for name, value in found.items()}


def _plain_thresholds(folder: Path) -> Numbers:
    found = asdict(DEFAULTS) | tomllib.loads((folder / "t.toml").read_text())
    return {name: np.array(float(value)) for name, value in found.items()}


def write_distributed(folder: Path) -> None:
    from torch.distributed import checkpoint

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no process group
        checkpoint.save({"model": _TENSORS}, checkpoint_id=folder / "step")


def write_shards(folder: Path) -> None:
    (folder / "sharded").mkdir()
    for name, values in _WEIGHTS.items():
        safetensors.numpy.save_file({name: values}, folder / "sharded" / f"{name}.safetensors")
    index = {"weight_map": {name: f"{name}.safetensors" for name in _WEIGHTS}}
    (folder / "sharded" / "model.safetensors.index.json").write_text(json.dumps(index))


def write_h5(folder: Path) -> None:
    with h5py.File(folder / "d.h5", "w") as file:
        file["x"], file["y"] = _X, _Y


def write_table(name: str) -> Callable[[Path], None]:
    rows = [
        {"a": float(x[0]), "b": int(y), "price": float(x[1])} for x, y in zip(_X, _Y, strict=True)
    ]

    def write(folder: Path) -> None:
        if name.endswith("parquet"):
            parquet.write_table(pa.Table.from_pylist(rows), folder / name, write_page_checksum=True)
        elif name.endswith("csv"):
            with (folder / name).open("w", newline="") as stream:
                writer = csv.DictWriter(stream, rows[0])
                writer.writeheader()
                writer.writerows(rows)
        else:
            (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    return write


def write_idx(folder: Path) -> None:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, array in (("images-idx3", _IMAGES), ("labels-idx1", _Y[:10].astype(np.uint8))):
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
        (raw / f"t10k-{name}-ubyte").write_bytes(header + array.tobytes())


def write_image(kind: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        from PIL import Image

        (folder / "photos" / "cat").mkdir(parents=True)
        for number in range(2):
            image = Image.fromarray(_IMAGES[number])
            image.save(folder / "photos" / "cat" / f"{number}.{kind}")

    return write


def write_text(folder: Path) -> None:
    (folder / "book.txt").write_text(_BOOK)
    word_tokenizer(folder / "tokenizer.json", _BOOK)


def _plain_csv(folder: Path) -> Numbers:
    with (folder / "t.csv").open(newline="") as stream:
        return _columns(list(csv.DictReader(stream)))


def _plain_json(folder: Path) -> Numbers:
    return _columns([json.loads(line) for line in (folder / "t.jsonl").read_text().splitlines()])


def _columns(rows: list[dict[str, Any]]) -> Numbers:
    inputs = [[float(value) for key, value in row.items() if key != "price"] for row in rows]
    return {"0": np.array(inputs), "1": _targets([row["price"] for row in rows])}


def _targets(values: list[Any]) -> np.ndarray:
    """Numbers; or, where one is none, the places of the words in their order."""
    try:
        if any("_" in str(value) for value in values):  # which Python alone takes for a number's
            raise ValueError
        return np.array([float(value) for value in values])
    except ValueError:
        return np.unique(np.array(values, str), return_inverse=True)[1]


def _plain_h5(folder: Path) -> Numbers:
    with h5py.File(folder / "d.h5") as file:
        return {"0": file["x"][()], "1": file["y"][()]}


def _plain_legacy(folder: Path) -> Numbers:
    found = torch.load(folder / "legacy.pth", weights_only=True)
    return {name: tensor.numpy() for name, tensor in found.items()}


def _plain_safetensors(folder: Path) -> Numbers:
    return safetensors.numpy.load((folder / "m.safetensors").read_bytes())


def _plain_data_safetensors(folder: Path) -> Numbers:
    found = safetensors.numpy.load((folder / "d.safetensors").read_bytes())
    return {"0": found["x"], "1": found["y"]}


def _plain_idx(folder: Path) -> Numbers:
    raw = folder / "MNIST" / "raw"
    images = np.fromfile(raw / "t10k-images-idx3-ubyte", np.uint8)[16:].reshape(-1, 1, 28, 28)
    labels = np.fromfile(raw / "t10k-labels-idx1-ubyte", np.uint8)[8:]
    return {"0": images.astype(np.float32) / np.float32(255), "1": labels.astype(np.int64)}


def _plain_words(folder: Path) -> Numbers:
    words = json.loads((folder / "tokenizer.json").read_text())["model"]
    unknown = words["vocab"].get(words["unk_token"])
    ids = np.array([words["vocab"].get(word, unknown) for word in _BOOK.split()])
    return {"0": ids[:128][None], "1": ids[1:129][None]}


def _plain_images(kind: str) -> Callable[[Path], Numbers]:
    def read(folder: Path) -> Numbers:
        from PIL import Image

        files = [folder / "photos" / "cat" / f"{number}.{kind}" for number in (0, 1)]
        images = [Image.open(file).convert("RGB") for file in files]
        if images[0].size != images[1].size:  # a damaged header may claim another
            images = [_cropped(image) for image in images]
        pixels = np.stack([np.asarray(image) for image in images])
        return {"0": np.float32(pixels.transpose(0, 3, 1, 2)) / np.float32(255), "1": np.zeros(2)}

    return read


def _cropped(image: Any) -> Any:
    """As ImageNet's are: the shorter side 256 pixels, then the middle 224 by 224."""
    from PIL import Image

    size = [256 * side // min(image.size) for side in image.size]
    left, top = (round((side - 224) / 2) for side in size)
    resized = image.resize(size, Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + 224, top + 224))


FORMATS: Mapping[str, Format] = {
    "torch zip": Format("m.pt", lambda at: torch.save(_TENSORS, at / "m.pt"), model("m.pt")),
    "torch legacy": Format(
        "legacy.pth",
        lambda at: torch.save(_TENSORS, at / "legacy.pth", _use_new_zipfile_serialization=False),
        model("legacy.pth"),
        _plain_legacy,
    ),
    "safetensors": Format(
        "m.safetensors",
        lambda at: safetensors.numpy.save_file(_WEIGHTS, at / "m.safetensors"),
        model("m.safetensors"),
        _plain_safetensors,
    ),
    "npz of weights": Format(
        "m.npz", lambda at: np.savez(at / "m.npz", **_WEIGHTS), model("m.npz"), named=True
    ),
    "distributed metadata": Format("step/.metadata", write_distributed, model("step"), named=True),
    "distributed chunk": Format("step/__0_0.distcp", write_distributed, model("step")),
    "index of shards": Format(
        "sharded/model.safetensors.index.json", write_shards, model("sharded")
    ),
    "statistics": Format(
        "stats.h5",
        lambda at: write_stats(
            stats(layer("fc1"), layer("fc2", order=1), activations=(activation(),)), at / "stats.h5"
        ),
        every_record,
    ),
    "statistics with factors": Format(
        "stats.h5",
        lambda at: write_stats(
            stats(wide("fc1"), wide("fc2", order=1, error=0.5), layer("fc3", order=2)),
            at / "stats.h5",
        ),
        every_record,
    ),
    "thresholds": Format(
        "t.toml", lambda at: (at / "t.toml").write_text(_BOUNDS), thresholds, _plain_thresholds
    ),
    "npz of data": Format("d.npz", lambda at: np.savez(at / "d.npz", x=_X, y=_Y), data("{}/d.npz")),
    "tensors of data": Format(
        "d.pt",
        lambda at: torch.save({"x": torch.from_numpy(_X), "y": torch.from_numpy(_Y)}, at / "d.pt"),
        data("{}/d.pt"),
    ),
    "safetensors of data": Format(
        "d.safetensors",
        lambda at: safetensors.numpy.save_file({"x": _X, "y": _Y}, at / "d.safetensors"),
        data("{}/d.safetensors"),
        _plain_data_safetensors,
    ),
    "HDF5 of data": Format("d.h5", write_h5, data("{}/d.h5"), _plain_h5),
    "CSV": Format("t.csv", write_table("t.csv"), data("{}/t.csv", target="price"), _plain_csv),
    "JSON lines": Format(
        "t.jsonl", write_table("t.jsonl"), data("{}/t.jsonl", target="price"), _plain_json
    ),
    "Parquet": Format("t.parquet", write_table("t.parquet"), data("{}/t.parquet", target="price")),
    "IDX": Format(
        "MNIST/raw/t10k-images-idx3-ubyte",
        write_idx,
        data("mnist", root=".", split="test"),
        _plain_idx,
    ),
    "PNG": Format(
        "photos/cat/0.png", write_image("png"), data("imagefolder:{}/photos"), _plain_images("png")
    ),
    "JPEG": Format(
        "photos/cat/0.jpg", write_image("jpg"), data("imagefolder:{}/photos"), _plain_images("jpg")
    ),
    "tokenizer": Format(
        "tokenizer.json",
        write_text,
        data("text:{}/book.txt", tokenizer="tokenizer.json"),
        _plain_words,
    ),
}
