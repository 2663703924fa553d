"""Statistics files that are none, are damaged, were forged, or cannot be true."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from condcli.statsfile import schema, write
from tests.reliability.cases import Case
from tests.statsfile.test_reading import resign
from tests.synthetic import activation, diagonal, layer, stats, wide

DAMAGED = "s.h5: the statistics file is truncated or damaged"
FC = "layers/fc1"


def whole(folder: Path, **changes: Any) -> Path:
    """s.h5: two layers and an activation that could be a probe's; fc1 with changes."""
    path = folder / "s.h5"
    common = {"positions": 10.0, "parameters": 8}
    layers = layer("fc1", **common | changes), layer("fc2", order=1, **common)
    write(stats(*layers, activations=(activation(),), parameters=16), path)
    return path


def holding(content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / "s.h5").write_bytes(content) and None


def changed(change: Callable[[bytearray], Any]) -> Callable[[Path], None]:
    """The file with its bytes changed."""

    def build(folder: Path) -> None:
        path = whole(folder)
        content = bytearray(path.read_bytes())
        change(content)
        path.write_bytes(content)

    return build


def forged(change: Callable[[Any], Any], *, signed: bool = True) -> Callable[[Path], None]:
    """The file changed by h5py, with all digests of groups made to hold again."""

    def build(folder: Path) -> None:
        with h5py.File(whole(folder), "r+") as file:
            change(file)
            if signed:
                resign(file)

    return build


def with_factor(
    change: Callable[[Any], Any] = lambda file: None, **changes: Any
) -> Callable[[Path], None]:
    """The file of a layer that has a factor in place of its input moment, forged as above."""

    def build(folder: Path) -> None:
        common = {"positions": 10.0, "parameters": 14}
        write(stats(wide("fc1", **common | changes), parameters=14), folder / "s.h5")
        with h5py.File(folder / "s.h5", "r+") as file:
            change(file)
            resign(file)

    return build


def untrue(**changes: Any) -> Callable[[Path], None]:
    """A file that is whole, of statistics that cannot be."""
    return lambda folder: whole(folder, **changes) and None


def case(
    name: str, make: Callable[[Path], None], words: str, *, command: str = "inspect s.h5"
) -> Case:
    def build(folder: Path) -> list[str]:
        make(folder)
        return command.split()

    return Case(name, build, 3, words)


def verified(name: str, make: Callable[[Path], None], words: str) -> Case:
    return case(name, make, f"s.h5: {words}", command="verify s.h5")


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "s.h5")


def _loop(folder: Path) -> None:
    (folder / "s.h5").symlink_to("s.h5")


def _keras(folder: Path) -> None:
    with h5py.File(folder / "s.h5", "w") as file:
        file.attrs["keras_version"] = "3"


def _moment(file: Any, **storage: Any) -> None:
    """Store fc1's moment in another way."""
    values = file[FC]["input_moment"][()]
    digest = file[FC]["input_moment"].attrs["blake2b"]
    del file[FC]["input_moment"]
    made = file[FC].create_dataset("input_moment", **{"data": values} | storage)
    made.attrs["blake2b"] = digest


def _external(file: Any) -> None:
    _moment(file, data=None, shape=(3, 3), dtype="<f8", external=[("/etc/passwd", 0, 72)])


def _virtual(file: Any) -> None:
    digest = file[FC]["input_moment"].attrs["blake2b"]
    del file[FC]["input_moment"]
    layout = h5py.VirtualLayout((3, 3), "<f8")
    layout[...] = h5py.VirtualSource("elsewhere.h5", "x", (3, 3))
    file[FC].create_virtual_dataset("input_moment", layout).attrs["blake2b"] = digest


def _huge(file: Any) -> None:
    size = 2**20
    _moment(file, data=None, shape=(size, size), dtype="<f8", chunks=(2**10, 2**10))
    file[FC].attrs["d_in"] = size


def _cycle(file: Any) -> None:
    file["layers/again"] = file["/layers"]


def _long_text(file: Any) -> None:
    del file[FC].attrs["kind"]
    file[FC].attrs["kind"] = "linear"  # of variable length: in the heap


def _put(place: str, name: str, value: Any) -> Callable[[Any], None]:
    return lambda file: file[place].attrs.__setitem__(name, value)


def _delete(place: str) -> Callable[[Any], None]:
    return lambda file: file.__delitem__(place)


def _link(place: str, link: Any) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        if place in file:
            del file[place]
        file[place] = link

    return change


def _swap(file: Any) -> None:
    file.move(FC, "layers/x")
    file.move("layers/fc2", FC)
    file.move("layers/x", "layers/fc2")


def _negated(file: Any) -> None:
    moment = file[FC]["grad_moment"]
    moment[...] = -moment[()]
    moment.attrs["blake2b"] = np.bytes_(schema.digest_of_array(moment[()]))


def _flip(place: bytes, after: int) -> Callable[[bytearray], None]:
    """Flip a bit some bytes after a text."""

    def change(content: bytearray) -> None:
        content[content.index(place) + after] ^= 4

    return change


ELSEWHERE = h5py.ExternalLink("/etc/passwd", "/")

CASES = [
    case("an empty file", holding(b""), "s.h5", command="spectrum s.h5"),
    case("a text", holding(b"moments"), "s.h5: is not a", command="spectrum s.h5"),
    case(
        "a pointer of git LFS", holding(b"version https://git-lfs"), "s.h5", command="verify s.h5"
    ),
    case("a web page", holding(b"<!DOCTYPE html>"), "s.h5: is not a", command="neurons s.h5"),
    case("a signature alone", holding(b"\x89HDF\r\n\x1a\n"), DAMAGED),
    case("a signature and zeros", holding(b"\x89HDF\r\n\x1a\n" + bytes(4096)), DAMAGED),
    case("a pipe", _pipe, "s.h5: is not a regular file"),
    case("a pipe among shards", _pipe, "s.h5: is not a regular", command="merge s.h5 -o o.h5"),
    case("a loop of links", _loop, "s.h5: ", command="domination s.h5"),
    case("another program's file", _keras, "s.h5: is an HDF5 file, but not one of condcli's"),
    case(
        "half of a file", changed(lambda content: content.__delitem__(slice(3000, None))), DAMAGED
    ),
    case("all but a byte", changed(lambda content: content.pop()), DAMAGED),
    case("a flipped bit in a name", changed(_flip(b"fc1", 1)), DAMAGED),
    case("a flipped bit in an attribute", changed(_flip(b"linear", 2)), DAMAGED),
    case("a flipped bit of a digest", changed(_flip(b"blake2b", 40)), DAMAGED),
    case(
        "a changed matrix",
        forged(lambda file: file[FC]["input_moment"].__setitem__((0, 0), 9.0)),
        f"{DAMAGED} at 'fc1'",
        command="spectrum s.h5",
    ),
    case("an attribute changed", forged(_put(FC, "rows", 9), signed=False), f"{DAMAGED} at 'fc1'"),
    case("the root changed", forged(_put("/", "examples", 9), signed=False), DAMAGED),
    case("an attribute more", forged(_put(FC, "more", 9), signed=False), f"{DAMAGED} at 'fc1'"),
    case(
        "a schema to come", forged(_put("/", "schema_version", 99)), "s.h5: has schema version 99"
    ),
    case("a schema that is no number", forged(_put("/", "schema_version", "1")), "schema version"),
    case(
        "a file not written to its end",
        forged(lambda file: file.attrs.__delitem__("complete")),
        "s.h5: was not written to its end",
    ),
    case("a layer less", forged(_delete(FC), signed=False), DAMAGED),
    case("layers that changed names", forged(_swap, signed=False), DAMAGED),
    case("a section less", forged(_delete("activations"), signed=False), DAMAGED),
    case("a matrix less", forged(_delete(f"{FC}/grad_moment")), f"{DAMAGED} at 'fc1'"),
    case("a link to another file", forged(_link(FC, ELSEWHERE), signed=False), DAMAGED),
    case(
        "a link to another place",
        forged(_link(FC, h5py.SoftLink("/layers/fc2")), signed=False),
        DAMAGED,
    ),
    case(
        "a matrix by a link",
        forged(_link(f"{FC}/grad_moment", ELSEWHERE), signed=False),
        f"{DAMAGED} at 'fc1'",
    ),
    case("a group in itself", forged(_cycle, signed=False), DAMAGED),
    case("a matrix in another file", forged(_external), f"{DAMAGED} at 'fc1'"),
    case("a virtual matrix", forged(_virtual), f"{DAMAGED} at 'fc1'"),
    case("a matrix of 8 TB", forged(_huge), f"{DAMAGED} at 'fc1'", command="domination s.h5"),
    case(
        "a compressed matrix",
        forged(lambda file: _moment(file, compression="gzip")),
        f"{DAMAGED} at 'fc1'",
    ),
    case("a matrix of texts", forged(lambda file: _moment(file, data="x")), f"{DAMAGED} at 'fc1'"),
    case("a text in the heap", forged(_long_text, signed=False), f"{DAMAGED} at 'fc1'"),
    case("groups that do not divide", forged(_put(FC, "groups", 2)), f"{DAMAGED} at 'fc1'"),
    case("no groups", forged(_put(FC, "groups", 0)), f"{DAMAGED} at 'fc1'"),
    case("a size below zero", forged(_put(FC, "d_in", -3)), f"{DAMAGED} at 'fc1'"),
    case("rows that are no number", forged(_put(FC, "rows", b"many")), f"{DAMAGED} at 'fc1'"),
    case(
        "infinity in a moment",
        untrue(grad_moment=np.full((2, 2), np.inf)),
        "s.h5: layer 'fc1': its gradient moment holds NaN or infinity",
        command="spectrum s.h5",
    ),
    case(
        "half of a symmetric matrix",
        untrue(input_moment=np.triu(diagonal(4.0, 2.0, 1.0))),
        "s.h5: layer 'fc1': its input moment is not symmetric",
        command="spectrum s.h5 --cache",
    ),
    verified("a negative moment", forged(_negated), "layer 'fc1': grad_moment has the eigenvalue"),
    verified("a mean too large", untrue(input_mean=np.full(3, 9.0)), "layer 'fc1': input_mean is"),
    verified("a mean beyond squaring", untrue(input_mean=np.full(3, 1e200)), "layer 'fc1': input_"),
    verified("a norm of nothing", untrue(weight_norm=9.0), "layer 'fc1': weight_singular_values"),
    verified("a part too many", untrue(parameters=9), "its parts have 17 of the model's 16"),
    verified("a place taken twice", untrue(order=1), "the layers 'fc1' and 'fc2' have the same"),
    case(
        "a factor in place of a moment",
        with_factor(lambda file: file[FC].move("input_factor", "input_moment")),
        f"{DAMAGED} at 'fc1'",
    ),
    case(
        "a moment in place of a factor",
        with_factor(lambda file: file[FC].move("grad_moment", "grad_factor")),
        f"{DAMAGED} at 'fc1'",
    ),
    case(
        "a factor of no known error",
        with_factor(lambda file: file[FC].attrs.__delitem__("input_error")),
        f"{DAMAGED} at 'fc1'",
    ),
    case(
        "a factor of fewer features",
        with_factor(_put(FC, "d_in", 5)),
        f"{DAMAGED} at 'fc1'",
    ),
    case(
        "NaN in a factor",
        with_factor(input_factor=np.full((4, 6), np.nan)),
        "s.h5: layer 'fc1': its input moment holds NaN or infinity",
        command="spectrum s.h5",
    ),
    verified(
        "an error below zero", with_factor(input_error=-1.0), "layer 'fc1': input_error is -1"
    ),
    verified(
        "a trace of nothing",
        with_factor(input_trace=0.5),
        "layer 'fc1': input_factor has the trace",
    ),
    verified(
        "a mean beyond", with_factor(input_mean=np.full(6, 9.0)), "layer 'fc1': input_mean is too"
    ),
    verified("a way out", forged(_link("more", ELSEWHERE)), "'more' is a link"),
]
