"""What a folder that grows gives, without waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from condcli.analysis.growing import Growth, growing
from condcli.errors import InputError
from condcli.statsfile import write
from tests.runs import stats_at
from tests.synthetic import layer, stats


class Ended(Exception):
    """All that was to happen has happened."""


def watched(folder: Path, *events: Callable[[], object]) -> Iterator[Growth]:
    """The run while these happen, one in each pause, and until there is none left."""
    left = list(events)

    def pause() -> None:
        if not left:
            raise Ended
        left.pop(0)()

    with suppress(Ended):
        yield from growing(folder, pause, percent=80)


def test_each_file_is_read_once_when_it_is_there(tmp_path: Path) -> None:
    seen = []
    adding = [
        lambda: write(stats_at(100), tmp_path / "b.h5"),
        lambda: (tmp_path / "half.tmp").write_text("not yet"),
        lambda: write(stats_at(0), tmp_path / "a.h5"),
    ]
    for growth in watched(tmp_path, *adding):
        seen.append(([p.step for p in growth.points], [p.step for p in growth.new]))
    assert seen == [([100], [100]), ([0, 100], [0])]


def test_a_file_that_is_written_anew_is_new(tmp_path: Path) -> None:
    write(stats_at(0), tmp_path / "a.h5")
    again = stats(*stats_at(0).layers.values(), step=0, loss=9.0)
    seen = []
    for growth in watched(tmp_path, lambda: write(again, tmp_path / "a.h5", force=True)):
        seen.append([p.loss for p in growth.new])
    assert seen == [[2.3], [9.0]]


def test_kept_eigenvalues_do_not_make_a_file_new(tmp_path: Path) -> None:
    write(stats_at(0), tmp_path / "a.h5")
    left = [1, 1]

    def pause() -> None:
        left.pop()

    with pytest.raises(IndexError):
        assert len(list(growing(tmp_path, pause, percent=80, cache=True))) == 1


def test_files_get_their_steps_anew_when_the_names_no_longer_tell(tmp_path: Path) -> None:
    write(stats(layer(), step=None), tmp_path / "epoch_7.h5")
    seen = []
    for growth in watched(tmp_path, lambda: write(stats(layer(), step=None), tmp_path / "last.h5")):
        seen.append([(p.path.stem, p.step, p.step_from) for p in growth.points])
    assert seen == [[("epoch_7", 7, "name")], [("epoch_7", 0, "order"), ("last", 1, "order")]]


def test_a_file_that_goes_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from condcli.analysis import growing as module

    write(stats_at(0), tmp_path / "a.h5")
    whole = module.numbered

    def gone(files: list[Path]) -> object:
        (tmp_path / "a.h5").unlink(missing_ok=True)
        return whole(files)

    monkeypatch.setattr(module, "numbered", gone)
    assert list(watched(tmp_path, lambda: None)) == []


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (stats(layer("fc"), step=100), "are not of one network"),
        (stats_at(0), "are both of step 0"),
    ],
)
def test_a_file_of_another_run_is_refused(other: object, words: str, tmp_path: Path) -> None:
    write(stats_at(0), tmp_path / "a.h5")
    with pytest.raises(InputError, match=words):
        list(watched(tmp_path, lambda: write(other, tmp_path / "b.h5")))  # type: ignore[arg-type]
