from __future__ import annotations

import math

import pytest

from condcli.errors import UsageError
from condcli.output.gate import parse_gate
from tests.output.rows import Row, kappa, report


def holds(expression: str, row: Row) -> bool:
    return parse_gate(expression, report(row)).holds(row)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("units>9", True),
        ("units>10", False),
        ("units >= 10", True),
        ("units<10", False),
        ("units<=10", True),
        ("loss>4.9e-1", True),
        ("loss>-1", True),
        (" loss < .6 ", True),
        ("dying>10%", True),
        ("dying>20 %", False),
        ("dying_share>=0.2", True),
        ("dominated", False),
        ("extra>0", False),
        ("extra<0", False),
    ],
)
def test_a_condition_compares_one_column(expression: str, expected: bool) -> None:
    assert holds(expression, Row()) is expected


def test_a_yes_or_no_column_stands_alone() -> None:
    assert holds("dominated", Row(dominated=True))


@pytest.mark.parametrize(
    ("value", "above", "below"),
    [
        (kappa(2e6), True, False),
        (kappa(5.0), False, True),
        (kappa(lower_bound=2e6), True, False),
        (kappa(lower_bound=5.0), False, False),
        (kappa(math.inf), True, False),
        (kappa(), False, False),
    ],
)
def test_a_condition_number_meets_what_is_known_to_hold(
    value: object, above: bool, below: bool
) -> None:
    row = Row(kappa={"100": value, "50": kappa(1.0)})  # type: ignore[dict-item]
    assert holds("kappa>1e6", row) is above
    assert holds("kappa_100<1e6", row) is below
    assert not holds("kappa_50>1e6", row)


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("", "'' is no condition; write NAME"),
        ("units=>3", "is no condition; write NAME"),
        ("units>", "is no condition; write NAME"),
        ("units>1.2.3", "is no condition"),
        ("units>3 and loss>1", "is no condition; write NAME"),
        ("units", "units is a number: compare it"),
        ("dominated>0", "dominated says yes or no: write it alone"),
        ("width>3", "no column 'width' here; choose from units, loss, kappa_100"),
        ("layer>3", "no column 'layer' here"),
        ("loss>10%", "no column 'loss_share' here"),
    ],
)
def test_a_bad_condition_is_refused_with_the_way_out(expression: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_gate(expression, report(Row()))
    assert complaint in str(caught.value)


def test_the_verdict_names_the_rows_and_counts_many() -> None:
    rows = [Row(layer=f"fc{i}", units=i) for i in range(15)]
    gate = parse_gate("units>12", report(*rows))
    assert gate.verdict(rows) == ["units>12 holds for 2 of 15 rows: fc13, fc14"]
    (many,) = parse_gate("units>=0", report(*rows)).verdict(rows)
    assert many.endswith("fc8, fc9, …")
    assert parse_gate("units>99", report(*rows)).verdict(rows) == []


def test_a_layer_with_several_rows_is_named_once() -> None:
    rows = [Row(layer="fc"), Row(layer="fc"), Row(layer="head")]
    (line,) = parse_gate("units>0", report(*rows)).verdict(rows)
    assert line == "units>0 holds for 3 of 3 rows: fc, head"


def test_a_condition_is_understood_without_rows() -> None:
    assert parse_gate("kappa_50>1e6", report()).verdict([]) == []
    with pytest.raises(UsageError, match="no column 'kappa_70'"):
        parse_gate("kappa_70>1e6", report())
