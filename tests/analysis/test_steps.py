from __future__ import annotations

from pathlib import Path

import pytest

from condcli.analysis.steps import files_of, numbered
from condcli.errors import InputError, UsageError
from condcli.statsfile import write
from tests.synthetic import layer, stats


def written(folder: Path, *names: str, steps: tuple[int | None, ...] = ()) -> list[Path]:
    """Statistics files of these names, with these steps of their own."""
    for place, name in enumerate(names):
        step = steps[place] if steps else None
        write(stats(layer(), step=step), folder / name)
    return [folder / name for name in names]


def found(files: list[Path]) -> list[tuple[str, int, str]]:
    return [(item.path.name, item.step, item.step_from) for item in numbered(files)]


def test_the_checkpoints_own_steps_count_before_the_names(tmp_path: Path) -> None:
    files = written(tmp_path, "epoch_1.h5", "epoch_2.h5", steps=(900, 300))
    assert found(files) == [("epoch_2.h5", 300, "file"), ("epoch_1.h5", 900, "file")]


def test_names_count_where_a_file_has_no_step(tmp_path: Path) -> None:
    files = written(tmp_path, "r18_epoch_10.h5", "r18_epoch_9.h5", steps=(900, None))
    assert found(files) == [("r18_epoch_9.h5", 9, "name"), ("r18_epoch_10.h5", 10, "name")]


def test_the_order_counts_where_a_name_has_no_number(tmp_path: Path) -> None:
    files = written(tmp_path, "start.h5", "epoch_7.h5", "end.h5")
    assert found(files) == [
        ("start.h5", 0, "order"),
        ("epoch_7.h5", 1, "order"),
        ("end.h5", 2, "order"),
    ]


def test_a_number_too_large_to_count_steps_is_none(tmp_path: Path) -> None:
    files = written(tmp_path, f"{2**63 - 1}.h5", f"digest{2**63}.h5")
    assert [step for _, step, _ in found(files)] == [0, 1]
    assert found(files[:1]) == [(files[0].name, 2**63 - 1, "name")]


@pytest.mark.parametrize("steps", [(5, 5), ()])
def test_two_files_of_one_step_are_refused_by_name(steps: tuple[int, ...], tmp_path: Path) -> None:
    files = written(tmp_path, "a_05.h5", "b_5.h5", steps=steps)
    with pytest.raises(InputError, match=r"a_05\.h5 and .*b_5\.h5 are both of step 5"):
        numbered(files)


def test_a_folder_stands_for_its_statistics_files_in_natural_order(tmp_path: Path) -> None:
    written(tmp_path, "e10.h5", "e9.h5", "e9b2.h5", "E1.h5")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / ".e3.h5").write_text("")
    (tmp_path / "deeper").mkdir()
    names = [file.name for file in files_of([tmp_path])]
    assert names == ["E1.h5", "e9.h5", "e9b2.h5", "e10.h5"]


def test_files_and_folders_keep_the_order_given(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    last, first = written(tmp_path, "last.h5", "first.h5")
    (inside,) = written(tmp_path / "run", "x.h5")
    assert files_of([first, tmp_path / "run", last]) == [first, inside, last]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no statistics file"):
        files_of([tmp_path])


def test_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="no statistics file is given"):
        files_of([])


def test_a_file_given_twice_is_refused_also_through_its_folder(tmp_path: Path) -> None:
    (file,) = written(tmp_path, "a.h5")
    with pytest.raises(UsageError, match="is given twice"):
        files_of([file, tmp_path])


def test_what_is_no_statistics_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_text("<html>")
    with pytest.raises(InputError, match=r"x\.h5: is not a statistics file"):
        numbered(files_of([tmp_path]))
