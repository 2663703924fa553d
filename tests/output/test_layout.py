from __future__ import annotations

from condcli.output.layout import GAP, Cells, fitted, shortened


def cells(width: int, *, drop: int = 0, cuttable: bool = False) -> Cells:
    return Cells(title="t", texts=["x" * width, "y"], cuttable=cuttable, drop=drop)


def widths(columns: list[Cells]) -> list[int]:
    return [column.width for column in columns]


def test_columns_that_fit_stay_as_they_are() -> None:
    columns = [cells(20, cuttable=True), cells(10, drop=1)]
    assert fitted(columns, 20 + GAP + 10) == columns


def test_a_long_text_is_cut_before_a_column_is_dropped() -> None:
    kept = fitted([cells(40, cuttable=True), cells(10, drop=1)], 40)
    assert widths(kept) == [28, 10]


def test_columns_go_by_their_drop_level_all_of_one_level_together() -> None:
    columns = [cells(10), cells(10, drop=1), cells(10, drop=2), cells(10, drop=2)]
    assert fitted(columns, 40) == columns[:2]
    assert fitted(columns, 15) == columns[:1]


def test_what_is_never_dropped_stays_even_where_it_does_not_fit() -> None:
    kept = fitted([cells(40, cuttable=True), cells(30)], 20)
    assert widths(kept) == [16, 30]


def test_several_texts_are_cut_from_the_left() -> None:
    kept = fitted([cells(30, cuttable=True), cells(30, cuttable=True)], 16 + GAP + 25)
    assert widths(kept) == [16, 25]


def test_a_text_is_cut_in_the_middle() -> None:
    assert shortened("abcdefghij", 5) == "ab…ij"
    assert shortened("abcdefghij", 6) == "ab…hij"
    assert shortened("abc", 3) == "abc"
