"""A state file is data only; damaged in whatever way, it is refused in one sentence."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import condcli
from condcli.capture import state_file
from condcli.errors import InputError

from .cases import CLASSES, labelled

DATA = labelled(6, sizes=(3, 3, 3))
KINDS = [*state_file.DTYPES]


def plain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, CLASSES))


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("state") / "s"
    condcli.probe(plain(), DATA(), save=path, save_every=0)
    return path.read_bytes()


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[bytes], InputError]:
    """The error when a run is to go on from a file with this content."""

    def call(content: bytes) -> InputError:
        (tmp_path / "s").write_bytes(content)
        with pytest.raises(InputError) as caught:
            condcli.probe(plain(), DATA(), save=tmp_path / "s", resume=True)
        assert str(caught.value).startswith(f"{tmp_path / 's'}: ")
        assert (tmp_path / "s").read_bytes() == content
        return caught.value

    return call


def test_it_is_a_safetensors_file(state: bytes) -> None:
    tensors = safetensors.torch.load(state)
    assert len(tensors) > 10
    assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())


def test_tensors_of_every_kind_come_back(tmp_path: Path) -> None:
    source = torch.Generator().manual_seed(0)
    tensors = [
        torch.randint(0, 100, shape, generator=source).to(dtype)
        for dtype in KINDS
        for shape in ((), (0, 3), (5,), (2, 3))
    ]
    with (tmp_path / "s").open("wb") as file:
        state_file.write(file, {"a": [1, None, "λ"]}, tensors)
    notes, found = state_file.read(tmp_path / "s")
    assert notes == {"a": [1, None, "λ"]} == state_file.read_notes(tmp_path / "s")
    for tensor, other in zip(found, tensors, strict=True):
        assert tensor.dtype == other.dtype
        assert torch.equal(tensor, other)
        assert not tensor.numel() or tensor.data_ptr() % 64 == 0


def test_no_flipped_byte_is_taken_for_a_number(state: bytes, tmp_path: Path) -> None:
    """In the header and in the numbers, which are most of the file."""
    source = np.random.default_rng(0)
    header = 8 + int.from_bytes(state[:8], "little")
    places = [*source.integers(0, header, 250), *source.integers(header, len(state), 250)]
    for place in map(int, places):
        damaged = bytearray(state)
        damaged[place] ^= 1 << int(source.integers(8))
        (tmp_path / "s").write_bytes(damaged)
        with pytest.raises(InputError) as caught:
            state_file.read(tmp_path / "s")
        assert str(tmp_path / "s") in str(caught.value)


def test_no_part_of_it_is_taken_for_the_whole(state: bytes, tmp_path: Path) -> None:
    for size in [*np.linspace(0, len(state) - 1, 100, dtype=int), len(state) + 1]:
        (tmp_path / "s").write_bytes((state + b"\0")[:size])
        with pytest.raises(InputError, match="is damaged, or no state of a probe; remove it"):
            state_file.read(tmp_path / "s")


class Canary:
    def __reduce__(self) -> Any:
        return os.mkdir, ("canary",)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a text",
        pickle.dumps(Canary()),
        safetensors.torch.save({"0": torch.zeros(3)}),
        (2**62).to_bytes(8, "little") + b"{}",
        b"\x89HDF\r\n\x1a\n" + bytes(100),
    ],
    ids=["empty", "text", "pickle", "safetensors", "giant", "hdf5"],
)
def test_a_foreign_file_is_refused(
    content: bytes,
    refused: Callable[[bytes], InputError],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "is damaged, or no state of a probe" in str(refused(content))
    assert not (tmp_path / "canary").exists()


def test_another_format_is_refused(state: bytes, refused: Callable[[bytes], InputError]) -> None:
    older = state.replace(b'"version":"2"', b'"version":"1"')
    assert "is a state of format 1, and this condcli reads 2; go on with the" in str(refused(older))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "s")
    with pytest.raises(InputError, match="no state of a probe"):
        condcli.probe(plain(), DATA(), save=tmp_path / "s", resume=True)


def rewritten(state: bytes, path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """The same state with other notes, and a digest that fits."""
    path.write_bytes(state)
    notes, tensors = state_file.read(path)
    change(notes)
    with path.open("wb") as file:
        state_file.write(file, notes, tensors)


@pytest.mark.parametrize(
    "change",
    [
        lambda notes: notes.pop("done"),
        lambda notes: notes.update(more=1),
        lambda notes: notes["word"].pop("totals"),
        lambda notes: notes["word"]["capture"].update(layers=["object", "Capture", {}]),
        lambda notes: notes["word"]["capture"].update(layers=["system", "ls"]),
        lambda notes: notes["word"]["capture"].update(layers=["tensor", 10**9, [], True]),
        lambda notes: notes["word"]["users"].append([10**9, []]),
        lambda notes: notes["word"]["parameters"].pop(),
        lambda notes: notes["word"]["buffers"].append([[["nowhere", "x"]], ["tensor", 0, [], 1]]),
    ],
)
def test_a_forged_state_is_refused(
    change: Callable[[dict[str, Any]], None], state: bytes, tmp_path: Path
) -> None:
    rewritten(state, tmp_path / "s", change)
    with pytest.raises(InputError, match="is damaged, or no state of a probe"):
        condcli.probe(plain(), DATA(), save=tmp_path / "s", resume=True)
