from __future__ import annotations

import pytest

from condcli.errors import UsageError
from condcli.output.columns import column_named, columns_of, sorted_by
from tests.output.rows import Row, kappa, report


def names(shown_in: str) -> list[str]:
    return [column.name for column in columns_of(report(Row()), shown_in=shown_in)]


def test_a_mapping_becomes_one_column_a_key() -> None:
    columns = {column.name: column for column in columns_of(report(Row()), shown_in="table")}
    assert columns["kappa_100"].title == "κ100"
    assert columns["kappa_50"].value(Row()) == kappa(12.0)
    assert (columns["kappa_100"].drop, columns["kappa_50"].drop) == (5, 2)


def test_tables_and_machines_see_their_own_columns() -> None:
    assert set(names("table")) - set(names("machine")) == {"shape"}
    assert set(names("machine")) - set(names("table")) == {"note"}


def test_the_columns_are_the_same_without_rows() -> None:
    with_rows, without = (columns_of(r, shown_in="machine") for r in (report(Row()), report()))
    assert with_rows == without


def test_a_mapping_by_its_own_name_is_its_first_column() -> None:
    columns = columns_of(report(Row()), shown_in="machine")
    assert column_named("kappa", columns).name == "kappa_100"
    assert column_named("kappa_50", columns).name == "kappa_50"


def test_an_unknown_column_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UsageError, match="no column 'kapa' here; choose from layer, units, loss"):
        sorted_by(report(Row()), "kapa")


def test_rows_are_sorted_largest_first_and_without_a_value_last() -> None:
    rows = [Row(layer=str(i), loss=loss) for i, loss in enumerate((1.0, None, 3.0, 2.0))]
    assert [row.layer for row in sorted_by(report(*rows), "loss")] == ["2", "3", "0", "1"]


def test_rows_are_sorted_from_a_by_a_text() -> None:
    rows = [Row(layer=name) for name in ("b", "c", "a")]
    assert [row.layer for row in sorted_by(report(*rows), "layer")] == ["a", "b", "c"]


def test_condition_numbers_are_sorted_by_value_or_bound() -> None:
    kappas = [kappa(5.0), kappa(lower_bound=7.0), kappa(float("inf")), kappa()]
    rows = [Row(layer=str(i), kappa={"100": value}) for i, value in enumerate(kappas)]
    assert [row.layer for row in sorted_by(report(*rows), "kappa")] == ["2", "1", "0", "3"]
