"""The language of filter_function and goodness_function."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from breezeblock.scheduler.expressions import MAX_DEPTH, MAX_LENGTH, ExpressionError, parse

NAMES = {
    "stats": {"free_capacity_gb": 30, "nothing": None, "protocols": ["FC"]},
    "capabilities": {"thin": True, "tier": {"disk": "ssd"}},
    "volume": {"size": 20, "display_name": "data"},
    "extra": {"iops": "500", "flag": "True"},
    "qos": {},
}


def value(text):
    return parse(text).evaluate(NAMES)


def trouble(text):
    with pytest.raises(ExpressionError) as caught:
        value(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 3 - 2", 5),
        ("12 / 3 / 2", 2),
        ("2 ^ 3", 8),
        ("2 ^ 3 ^ 2", 512),
        ("-2 ^ 2", -4),
        ("2 ^ -1", 0.5),
        ("2 * -3", -6),
        ("--1", 1),
        ("+1", 1),
        ("1.5 + .5 + 1e1 + 2.", 14),
        ("abs(-3)", 3),
        ("min(4, 2) + max(4, 2)", 6),
        ("max(min(9, 5), abs(-1))", 5),
        ("volume.size * 2", 40),
        ("extra.iops / 5", 100),
        ("'two words'", "two words"),
        ('"double"', "double"),
        ("capabilities.tier.disk", "ssd"),
        ("volume.size > 10 ? 1 : 2", 1),
        ("volume.size > 50 ? 1 : volume.size > 10 ? 2 : 3", 2),
    ],
)
def test_gives(text, expected):
    assert value(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "1 == 1.0",
        "1 != 2",
        "2 > 1",
        "1 < 2",
        "2 >= 2",
        "2 <= 2",
        "1 < 2 < 3",
        "not (3 < 2 < 1)",
        "1 + 1 == 2",
        "1 == 1 and 2 == 2",
        "1 == 1 && 2 == 2",
        "1 == 2 or 2 == 2",
        "1 == 2 || 2 == 2",
        "not 1 == 2",
        "!(1 == 2)",
        "1 == 1 or 1 == 1 and 1 == 2",
        "not 1 == 2 and 1 == 1",
        "volume.display_name == 'data'",
        "'abc' < 'abd'",
        "volume.display_name != 5",
        "stats.nothing != 'x'",
        "extra.iops == '500.0'",
        "capabilities.thin == 1",
        "capabilities.thin and extra.flag",
        "volume.size",
    ],
)
def test_is_true(text):
    assert parse(text).holds(NAMES) is True


@pytest.mark.parametrize(
    "text",
    ["0", "1 > 2", "stats.nothing", "not volume.size", "'5' == 'five'", "3 < 2 < 1", "1 < 3 < 2"],
)
def test_is_false(text):
    assert parse(text).holds(NAMES) is False


def test_only_the_needed_side_is_evaluated():
    assert value("1 == 1 or 1 / 0 == 1") is True
    assert value("1 == 2 and volume.missing == 1") is False
    assert value("1 == 1 ? 5 : 1 / 0") == 5


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("", 0, "unexpected end"),
        ("1 +", 3, "unexpected end"),
        ("1 2", 2, "unexpected '2'"),
        ("(1", 2, "')' expected"),
        ("1 = 1", 2, "unexpected '='"),
        ("1 + $x", 4, "unexpected '$'"),
        ("'open", 0, 'unexpected "\'"'),
        ("1 ? 2", 5, "':' expected"),
        ("min(1)", 5, "',' expected"),
        ("abs(1, 2)", 5, "')' expected"),
        ("1 + eval(1)", 4, "no function 'eval'"),
        ("__import__('os')", 0, "no function '__import__'"),
        ("host", 0, "unknown name 'host'"),
        ("os.path", 0, "unknown name 'os.path'"),
        ("1e999", 0, "too large"),
        ("1 + volume.colour", 4, "volume.colour is not known here"),
        ("volume.size.__class__", 0, "not known here"),
        ("stats.protocols == 1", 0, "neither number, text nor boolean"),
        ("4 / 0", 2, "4 is divided by zero"),
        ("9 ^ 9 ^ 9", 2, "is not a number"),
        ("(0 - 8) ^ 0.5", 8, "is not a number"),
        ("1e308 * 10", 6, "is not a number"),
        ("volume.display_name * 2", 20, "'data' is not a number"),
        ("stats.nothing + 1", 14, "null is not a number"),
        ("1 < 'a'", 2, "compares different kinds"),
        ("1 == 1 and 'a'", 7, "neither true nor false"),
        ("volume", 0, "unknown name"),
    ],
)
def test_errors_say_what_and_where(text, position, message):
    error = trouble(text)
    assert message in str(error)
    assert error.position == position


def test_a_condition_that_is_text_is_an_error():
    with pytest.raises(ExpressionError, match="neither true nor false"):
        parse("'maybe'").holds(NAMES)


@pytest.mark.parametrize("function", [None, 5, ["1"]])
def test_what_is_no_text_is_an_error(function):
    with pytest.raises(ExpressionError, match="is not text"):
        parse(function)


def test_too_long_is_an_error():
    assert value("1" + " " * (MAX_LENGTH - 1)) == 1
    assert "longer than" in str(trouble("1" + " " * MAX_LENGTH))


@pytest.mark.parametrize("opening", ["(", "-", "not ", "abs(", "2 ^ ", "1 ? 1 : ", "1 ? ", "1 + ("])
def test_too_deep_is_an_error(opening):
    assert "nested deeper" in str(trouble(opening * (MAX_DEPTH + 1) + "1"))


def test_a_long_sum_is_not_deep():
    assert value("+".join(["1"] * 2000)) == 2000


def test_a_text_is_compiled_once():
    assert parse("1 + 41") is parse("1 + 41")


def test_an_error_is_raised_anew_each_time():
    assert trouble("1 +") is not trouble("1 +")


def test_the_figures_behind_a_value_are_its_numbers():
    expression = parse("volume.size < 5 and volume.display_name == 'x' and volume.missing > 1")
    assert expression.names == ("volume.size", "volume.display_name", "volume.missing")
    assert expression.figures(NAMES) == " (volume.size = 20)"


PIECES = """
    + - * / ^ ( ) ? : , ! < > & | ' . " == != <= >= and or not abs( min( max( 1 0 2.5 1e300 'a'
    volume.size volume.display_name stats.nothing stats.protocols extra.iops capabilities.thin
    capabilities.tier qos.x os.x
"""


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES.split()), max_size=30).map(" ".join)))
def test_nothing_but_its_own_error_ever_comes_out(text):
    try:
        parse(text).evaluate(NAMES)
        parse(text).holds(NAMES)
    except ExpressionError as error:
        assert 0 <= error.position <= max(len(text), MAX_LENGTH)
