"""ONTAP's query language, value by value."""

from __future__ import annotations

import pytest

from breezeblock.ontapsim.names import size
from breezeblock.ontapsim.query import Query, accepts, project, values


@pytest.mark.parametrize(
    ("text", "found", "holds"),
    [
        ("a", ["a"], True),
        ("a,b", ["b"], True),
        ("!a,!b", ["b"], False),
        ("!a", [], True),
        ("a*", ["abc"], True),
        ("a*", ["ba"], False),
        ("[a]*", ["[a]b"], True),
        ('"a,b"', ["a,b"], True),
        ('"a*"', ["abc"], False),
        ("null", [], True),
        ("!null", ["x"], True),
        ("true", [True], True),
        ("1K", [1024], True),
        ("1..3", [4], False),
        (">=1G", [1 << 30], True),
        ("<5", ["x"], False),
        ("b", ["a", "b"], True),
    ],
)
def test_accepts(text: str, found: list[object], holds: bool) -> None:
    assert accepts(text, found) is holds


def test_values_of_lists_and_of_things_with_a_name() -> None:
    document = {"l": [{"n": 1}, {"n": 2}, {}], "svm": {"name": "s", "uuid": "u"}}
    assert values(document, ["l", "n"]) == [1, 2]
    assert values(document, ["svm"]) == ["s"]


def test_escapes_and_the_second_question_mark() -> None:
    query = Query.parse("name=%2Fvol%2Fa&return_records=false?max_records=5")
    assert query.get("name") == "/vol/a"
    assert query.number("max_records", 1, 1, 10) == 5


def test_projection_into_lists() -> None:
    document = {"l": [{"a": 1, "b": 2}], "c": 3}
    assert project(document, ["l.a"], ()) == {"l": [{"a": 1}]}
    assert project(document, ["*"], ["c"]) == {"l": [{"a": 1, "b": 2}]}


@pytest.mark.parametrize(
    ("text", "count"),
    [("1", 1), ("1K", 1024), ("1.5gb", 3 << 29), ("2TiB", 2 << 40), ("x", None), ("-1", None)],
)
def test_sizes(text: str, count: int | None) -> None:
    assert size(text) == count
