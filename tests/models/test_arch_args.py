"""`--arch-arg key=value`."""

import pytest

from condcli.errors import UsageError
from condcli.models import parse_arch_args


@pytest.mark.parametrize(
    ("text", "value"),
    [("20", 20), ("-1", -1), ("1e-3", 1e-3), ("0.5", 0.5), ("True", True), ("false", False),
     ("None", None), ("none", "none"), ("bn", "bn"), ("(1,2)", (1, 2)), ("1,2", (1, 2)),
     ("'20'", "20"), ("", ""), ("a=b", "a=b"), ("__import__('os')", "__import__('os')")],
)  # fmt: skip
def test_values_are_literals_or_plain_strings(text, value):
    parsed = parse_arch_args([f"key={text}"])["key"]
    assert parsed == value
    assert type(parsed) is type(value)


def test_several_arguments_keep_their_order():
    assert list(parse_arch_args(["width=2", "depth=3"]).items()) == [("width", 2), ("depth", 3)]


@pytest.mark.parametrize("pair", ["depth", "=3", "two words=3", "1x=3"])
def test_what_is_no_assignment_is_refused(pair):
    with pytest.raises(UsageError, match="key=value"):
        parse_arch_args([pair])


def test_an_argument_given_twice_is_refused():
    with pytest.raises(UsageError, match="depth is given twice"):
        parse_arch_args(["depth=3", "depth=4"])
