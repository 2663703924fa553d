"""The short form of the cuts and flips of every format, and that it can fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.reliability import sweep_flips as flips
from tests.reliability.formats import FORMATS, Format
from tests.reliability.sweep_flips import BrokenPromise, equal, survived

PLAIN = [name for name, form in FORMATS.items() if form.plain is not None]


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_refused_or_read_right(name: str) -> None:
    ends = survived(name, cuts=20, flips=20)
    assert ends.total() == 40
    assert ends["refused"] > 0


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
@pytest.mark.parametrize("name", PLAIN)
def test_the_other_decoder_agrees_on_a_whole_file(name: str, tmp_path: Path) -> None:
    form = FORMATS[name]
    form.make(tmp_path)
    assert form.plain is not None
    assert equal(form.read(tmp_path), form.plain(tmp_path))


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda content: 1 // len(content), "ZeroDivisionError"),
        (lambda content: None, "read as other numbers"),
    ],
)
def test_a_reader_that_lies_or_fails_is_found(
    read: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def numbers(folder: Path) -> dict[str, np.ndarray]:
        content = (folder / "f").read_bytes()
        read(content)  # type: ignore[operator]
        return {"f": np.frombuffer(content, np.uint8)}

    form = Format("f", lambda at: (at / "f").write_bytes(b"\0\0"), numbers)
    monkeypatch.setattr(flips, "FORMATS", {"odd": form})
    with pytest.raises(BrokenPromise, match=said):
        survived("odd", cuts=1, flips=2000)
