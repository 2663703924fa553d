"""Model files and folders that are damaged, hostile, foreign, or fit nothing."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from tests.reliability.cases import Case
from tests.reliability.payload import (
    Payload,
    flipped,
    members_of,
    pickled,
    shared_tuple,
    tar_of,
    zip_of,
)

FORCED = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
Content = bytes | Callable[[Path], bytes]
DAMAGED = "truncated or damaged"


def weights() -> dict[str, Any]:
    """A layer that no known network has."""
    return {"odd.weight": torch.arange(24.0).reshape(4, 6), "odd.bias": torch.ones(4)}


def saved(content: object, *, legacy: bool = False) -> bytes:
    image = io.BytesIO()
    torch.save(content, image, _use_new_zipfile_serialization=not legacy)
    return image.getvalue()


def rewritten(content: object, change: Callable[[dict[str, bytes]], Mapping[str, bytes]]) -> bytes:
    """A file of torch.save with other entries."""
    return zip_of(change(members_of(saved(content))))


def file(
    name: str,
    content: Content,
    said: str,
    code: int = 3,
    *,
    at: str = "model.pt",
    command: str = "inspect",
    **settings: Any,
) -> Case:
    """A case of one file."""

    def build(folder: Path) -> list[str]:
        image = content if isinstance(content, bytes) else content(folder)
        (folder / at).write_bytes(image)
        first, *options = command.split()
        return [first, at, *options]

    return Case(name, build, code, said, **settings)


def folder(
    name: str, make: Callable[[Path], object], said: str, code: int = 3, *, at: str = "model"
) -> Case:
    """A case of a folder."""

    def build(place: Path) -> list[str]:
        (place / "model").mkdir()
        make(place / "model")
        return ["inspect", at]

    return Case(name, build, code, said)


def unsafe(name: str, content: Content, at: str = "model.pt", said: str = "pickled code") -> Case:
    return file(name, content, said, 4, at=at, env=FORCED)


def legacy(number: int) -> Callable[[Path], bytes]:
    """A file in torch's old format with the payload in one of its parts."""

    def content(folder: Path) -> bytes:
        facts = {"little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
        parts = [MAGIC + b".", *(pickle.dumps(each, 2) for each in (1001, facts, {"a": 1}, []))]
        hidden = pickled(folder)
        parts[number] = MAGIC + b"0" + hidden[2:] if number == 0 else hidden
        return b"".join(parts)

    return content


def with_pickle(image: bytes) -> bytes:
    """A file of torch.save whose data are another pickle."""
    return rewritten(
        weights(),
        lambda entries: {
            name: image if name.endswith("data.pkl") else each for name, each in entries.items()
        },
    )


def safetensors(header: object, data: bytes = bytes(16)) -> bytes:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(head).to_bytes(8, "little") + head + data


def tensor(dtype: str = "F32", shape: object = (2, 2), ends: object = (0, 16)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": ends}


def npz(**arrays: Any) -> bytes:
    image = io.BytesIO()
    np.savez(image, **arrays)
    return image.getvalue()


def bomb() -> bytes:
    image = io.BytesIO()
    np.savez_compressed(image, a=np.zeros(10**6))
    return image.getvalue()


def index(places: object) -> Callable[[Path], object]:
    def make(place: Path) -> None:
        text = json.dumps(places)
        (place / "model.safetensors.index.json").write_text(text)

    return make


def put(name: str, content: Content) -> Callable[[Path], object]:
    def make(place: Path) -> None:
        (place / name).write_bytes(content if isinstance(content, bytes) else content(place.parent))

    return make


def both(*makes: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda place: [make(place) for make in makes]


def pipe(name: str) -> Callable[[Path], list[str]]:
    def build(folder: Path) -> list[str]:
        os.mkfifo(folder / name)
        return ["inspect", name]

    return build


def loop() -> bytes:
    inner: dict[str, Any] = {"epoch": 1}
    inner["model"] = inner["state_dict"] = inner
    return saved(inner)


def linked(folder: Path) -> list[str]:
    (folder / "a.pt").symlink_to("b.pt")
    (folder / "b.pt").symlink_to("a.pt")
    return ["inspect", "a.pt"]


def exported(image: bytes = b"{}") -> bytes:
    return zip_of({"m/archive_format": b"pt2", "m/models/model.json": image})


def views() -> bytes:
    """Two hundred tensors of one memory."""
    whole = torch.ones(1000)
    return saved({f"layer{number}.weight": whole for number in range(200)})


def sized(**options: Any) -> bytes:
    """A network of the zoo, its sizes told, its first weights changed by `options`."""
    state = {"fc1.weight": torch.ones(4, 64), "fc1.bias": torch.ones(4)}
    state |= {"fc2.weight": torch.ones(10, 4), "fc2.bias": torch.ones(10)}
    args = {"inputs": 64, "classes": 10, "depth": 2, "width": 4}
    return saved({"arch": "mlp", "arch_args": args, "state_dict": state} | options)


ZIP = saved(weights())
PLACE = ZIP.index(torch.arange(24.0).numpy().tobytes())
OLD = saved(weights(), legacy=True)
SAFE = save(weights())
PROBE = "probe --data digits --samples 20"

CASES = [
    file("nothing in the file", b"", "model.pt is empty"),
    file("a pointer of git-LFS", b"version https://git-lfs.github.com/spec/v1\n", "git-LFS"),
    file("a web page", b"\n<!DOCTYPE html><html>Not found", "model.pt is a web page"),
    file("an HDF5 file cut short", b"\x89HDF\r\n\x1a\n" + bytes(64), "model.pt"),
    file("a gzip file", b"\x1f\x8b\x08" + bytes(64), "gzip-compressed"),
    file("a bzip2 file", b"BZh9" + bytes(64), "bzip2-compressed"),
    file("a GGUF file", b"GGUF" + bytes(64), "GGUF"),
    file("one NumPy array", b"\x93NUMPY\x01\x00" + bytes(64), "one NumPy array"),
    file("an ONNX model", b"\x08\x08\x12\x07pytorch" + bytes(64), "ONNX"),
    file("a TensorFlow Lite model", b"\x1c\x00\x00\x00TFL3" + bytes(64), "TensorFlow Lite"),
    file("a Flax model", b"\x81\xa6params\x82\xa5Dense" + bytes(64), "msgpack"),
    file("a picture", b"\x89PNG\r\n\x1a\n" + bytes(64), "an image"),
    file("a document", b"%PDF-1.7" + bytes(64), "PDF"),
    file("a table", b"epoch,loss\n1,2.3\n", "no checkpoint"),
    file("zeros", bytes(4096), "no checkpoint"),
    file("a tar of torch", tar_of({"storages": b"", "pickle": b""}), "torch before 0.1.10"),
    file("a tar of other things", tar_of({"readme": b"hello"}), "tar archive"),
    file("another zip", zip_of({"model.json": b"{}"}), "zip archive, but not one of torch.save"),
    file("an empty zip", zip_of({}), "no checkpoint"),
    file("a Keras model", zip_of({"model.weights.h5": b""}), "Keras"),
    Case("a pipe", pipe("model.pt"), 3, "model.pt: is not a regular file"),
    Case("a pipe for an index", pipe("x.index.json"), 3, "x.index.json: is not a regular file"),
    Case("links in a circle", linked, 3, "a.pt"),
    file("a zip cut short", ZIP[: len(ZIP) // 2], DAMAGED),
    file("a zip without its last byte", ZIP[:-1], DAMAGED),
    file("a zip's first bytes", ZIP[:100], DAMAGED),
    file("a bit in a weight", flipped(ZIP, PLACE + 5), "checksum"),
    file("a bit in the pickle", flipped(ZIP, ZIP.index(b"odd.weight")), "checksum"),
    file("a bit in the directory", flipped(ZIP, ZIP.index(b"PK\x01\x02") + 8), DAMAGED),
    file("two pickles of one name", ZIP.replace(b"archive/version", b"archive/data.pk"), ""),
    file(
        "a deflated archive",
        lambda _: zip_of(members_of(ZIP), zipfile.ZIP_DEFLATED),
        "compressed entries",
    ),
    file(
        "two top folders",
        rewritten(weights(), lambda entries: entries | {"other/file": b""}),
        "more than one top folder",
    ),
    file("an old file cut short", OLD[: len(OLD) // 2], DAMAGED),
    file("an old file of its magic number", OLD[:20], DAMAGED),
    file("not a number", saved(weights() | {"odd.bias": torch.full((4,), torch.nan)}), "odd.bias"),
    file("infinity", saved(weights() | {"odd.bias": torch.full((4,), torch.inf)}), "odd.bias"),
    file("a claim of terabytes", saved({"odd": torch.ones(1).expand(1 << 40)}), "claims 1,099,511"),
    file("many claims of one memory", views(), "200 tensors claim 800,000 bytes, but share 4,000"),
    file("a sparse tensor", saved({"odd": torch.eye(3).to_sparse()}), "sparse"),
    file("a tensor without data", saved({"odd": torch.ones(2, device="meta")}), "no data"),
    file("complex numbers", saved({"odd": torch.ones(2, dtype=torch.complex64)}), "complex"),
    file("a dict within itself", loop(), "no state_dict"),
    file("an empty dict", saved({}), "an empty dict"),
    file("a number of epochs", saved({"epoch": 3}), "a dict of 'epoch'"),
    file("a list", saved([1, 2]), "one list"),
    file("one tensor", saved(torch.ones(3)), "one Tensor"),
    file("two networks", saved({"actor": weights(), "critic": weights()}), "several state_dicts"),
    file("a tuple that cannot be hashed", lambda _: with_pickle(
        b"\x80\x02}" + shared_tuple() + b"K\x01s."), "tuples within tuples"),
    file("an instruction that is none", with_pickle(b"\x80\x02\xff."), "model.pt"),
    file("a pickle without an end", with_pickle(b"\x80\x02}"), "model.pt"),
    unsafe("code in a checkpoint", lambda f: saved(weights() | {"extra": Payload(f)})),
    unsafe("code in an old checkpoint", lambda f: saved({"a": Payload(f)}, legacy=True)),
    unsafe("code in an old magic number", legacy(0)),
    unsafe("code in an old version", legacy(1)),
    unsafe("code in the old facts", legacy(2)),
    unsafe("code in the old data", legacy(3)),
    unsafe("code in the old tail", legacy(4)),
    unsafe("code in a bare pickle", pickled, said="a bare pickle"),
    unsafe("code called safetensors", pickled, "model.safetensors", "a bare pickle"),
    unsafe("code in the arguments of a training", lambda f: saved(Payload(f)), "training_args.bin"),
    unsafe("code in hyperparameters", lambda f: saved(
        {"state_dict": weights(), "hyper_parameters": {"a": Payload(f)}}), "last.ckpt"),
    unsafe("a whole network", saved(nn.Linear(3, 2)), said="--trust"),
    unsafe("an exported program", exported(), "model.pt2", "exported program"),
    unsafe("a TorchScript program", zip_of({"m/constants.pkl": b"", "m/data.pkl": b""}),
           said="TorchScript"),
    file("code in a tar", lambda f: tar_of({"storages": pickled(f), "pickle": pickled(f)}),
         "torch before 0.1.10", env=FORCED),
    file("code in an array of objects", lambda f: npz(a=np.array([Payload(f)], dtype=object)),
         "not plain numbers", at="model.npz"),
    file("a damaged program, trusted", flipped(exported(bytes(99)), 150), "checksum",
         at="model.pt2", command="inspect --trust"),
    file("a safetensors file cut short", SAFE[:-1], DAMAGED),
    file("a header longer than the file", (1 << 20).to_bytes(8, "little") + b"{}", DAMAGED),
    file("a header that is no JSON", safetensors(b'{"a": '), DAMAGED),
    file("tensors that overlap", safetensors({"a": tensor(), "b": tensor()}), DAMAGED),
    file("a shape too large for its bytes", safetensors({"a": tensor(shape=(9, 9))}), DAMAGED),
    file("a shape that overflows", safetensors({"a": tensor(shape=(2**62, 4))}), DAMAGED),
    file("a negative shape", safetensors({"a": tensor(shape=(-2, -2))}), DAMAGED),
    file("offsets backwards", safetensors({"a": tensor(ends=(16, 0))}), DAMAGED),
    file("an unknown type", safetensors({"a": tensor("F33")}), DAMAGED),
    file("bytes that no tensor has", safetensors({"a": tensor()}, bytes(99)), DAMAGED),
    file("no tensors", safetensors({}, b""), "model.pt holds an empty dict"),
    file("strings in an archive", npz(a=np.array(["cat"])), "not plain numbers", at="m.npz"),
    file("arrays that unpack to far more", bomb(), "unpacks to 8,000", at="m.npz"),
    file("an array cut short", zip_of({"a.npy": b"\x93NUMPY\x01\x00"}), "m.npz", at="m.npz"),
    file("an array of more than the file", zip_of({"a.npy": b"\x93NUMPY\x01\x00v\x00" + (
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }").ljust(117)
        + b"\n"}), "m.npz", 3, at="m.npz"),
    folder("an empty folder", lambda place: None, "a folder without a checkpoint"),
    folder("only what a training leaves", both(
        put("training_args.bin", lambda f: saved(Payload(f))), put("optimizer.pt", b"x")),
        "a folder without a checkpoint"),
    folder("two checkpoints", both(put("a.pt", ZIP), put("b.pt", ZIP)), "several checkpoints"),
    folder("an adapter", put("adapter_config.json", b"{}"), "LoRA"),
    folder("a TensorFlow model", put("saved_model.pb", b""), "TensorFlow"),
    folder("DeepSpeed's", put("zero_to_fp32.py", b""), "DeepSpeed"),
    folder("an index of nothing", index({"weight_map": {}}), "no weight_map"),
    folder("an index that is a list", index([1]), "holds no JSON object"),
    folder("an index out of its folder", index({"weight_map": {"a": "../x"}}), "'../x'"),
    folder("an index to an absolute path", index({"weight_map": {"a": "/etc/passwd"}}), "passwd"),
    folder("an index to itself", index({"weight_map": {"a": "."}}), "'.'"),
    folder("an index to no name", index({"weight_map": {"a": ""}}), "names ''"),
    folder("an index to a long name", index({"weight_map": {"a": "x" * 3000}}), "x"),
    folder("an index to a name with NUL", index({"weight_map": {"a": "x\0y"}}), "are missing"),
    folder("an index to half a character", index({"weight_map": {"a": "\ud800"}}), "are missing"),
    folder("an index of numbers", index({"weight_map": {"a": 3}}), "3"),
    folder("a missing shard", index({"weight_map": {"a": "a.safetensors"}}), "files are missing"),
    folder("a tensor in no shard", both(
        put("a.safetensors", SAFE), index({"weight_map": {"none": "a.safetensors"}})),
        "1 tensors are in none"),
    folder("a damaged shard", both(
        put("a.safetensors", SAFE[:99]), index({"weight_map": {"odd.bias": "a.safetensors"}})),
        "a.safetensors is truncated"),
    folder("an index that nests without end", put(
        "model.safetensors.index.json", b"[" * 100_000), "no JSON"),
    folder("code in the metadata of shards", put(".metadata", pickled), "the metadata name", 4),
    folder("damaged metadata", put(".metadata", b"\x80\x02}"), DAMAGED),
    folder("metadata of nothing", put(".metadata", pickle.dumps(3)), DAMAGED),
    file("arguments that are no dict", sized(arch_args=[1]), "arch_args", command=PROBE),
    file("arguments that make no network", sized(arch_args={"depth": -1}), "model.pt",
         command=PROBE),
    file("an architecture that is code", sized(arch="os:system"), "'os:system'", 4, command=PROBE),
    file("data that are code", sized(data="evil.py:f"), "'evil.py:f'", 4,
         command="probe --samples 20"),
    file("whole numbers for weights", sized(state_dict={
        "fc1.weight": torch.ones(4, 64, dtype=torch.int32), "fc1.bias": torch.ones(4),
        "fc2.weight": torch.ones(10, 4), "fc2.bias": torch.ones(10)}),
        "'fc1.weight' int32 instead of float32", command=PROBE),
    file("another shape", sized(arch_args={"inputs": 64, "classes": 10, "depth": 2, "width": 5}),
         "of another shape", command=PROBE),
    file("a tensor too many", sized(arch_args={"inputs": 64, "classes": 10, "depth": 1}),
         "model.pt does not fit", command=PROBE),
    file("no architecture", ZIP, "fits no known architecture", command=PROBE),
]  # fmt: skip
