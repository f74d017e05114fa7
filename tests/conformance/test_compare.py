"""The comparison of sessions sees what differs, and only that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.conformance.compare import Comparison, Deviation, read_accepted

ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"
TIME = "2026-11-22T17:00:00.123456"


def exchange(body: Any, status: int = 200, step: str = "show", path: str = "/v3/x") -> Any:
    return {
        "step": step,
        "method": "GET",
        "path": path,
        "version": "",
        "request": None,
        "status": status,
        "headers": {"content-type": "application/json"},
        "body": body,
    }


def deviations(expected: list[Any], came: list[Any]) -> list[Deviation]:
    found = Comparison("http://one", "http://two").compare(expected, came)
    return [deviation for _, several in found for deviation in several]


def places(one: Any, other: Any) -> list[str]:
    return [it.where.split()[-1] for it in deviations([exchange(one)], [exchange(other)])]


def test_what_must_differ_is_the_same() -> None:
    one = {"id": ONE, "at": TIME, "href": f"http://one/v3/{ONE}"}
    other = {"id": TWO, "at": TIME.replace("17", "18"), "href": f"http://two/v3/{TWO}"}
    assert places(one, other) == []


def test_values_types_and_keys_are_seen() -> None:
    assert places({"a": 1}, {"a": 2}) == ["body.a"]
    assert places({"a": 1}, {"a": "1"}) == ["body.a"]
    assert places({"a": 0}, {"a": False}) == ["body.a"]
    assert places({"a": None}, {}) == ["body.a"]
    assert places({}, {"a": None}) == ["body.a"]
    assert places([{"a": 1}], [{"a": 1}, {"a": 1}]) == ["body"]
    assert places({"at": TIME}, {"at": TIME + "Z"}) == ["body.at"]


def test_an_id_stands_for_one_thing() -> None:
    assert places({"a": ONE, "b": ONE}, {"a": TWO, "b": ONE}) == ["body.b"]
    assert places({"a": ONE, "b": TWO}, {"a": ONE, "b": ONE}) == ["body.b"]


def test_an_error_may_use_other_words_and_no_other_code() -> None:
    fault = {"badRequest": {"code": 400, "message": "no"}}
    assert places(fault, {"badRequest": {"code": 400, "message": "never"}}) == []
    assert places(fault, {"badRequest": {"code": 409, "message": "no"}}) == ["body.badRequest.code"]
    assert places({"message": {"message": "a"}}, {"message": {"message": "b"}})


def test_a_failure_of_the_reference_is_a_refusal_here() -> None:
    assert deviations([exchange({}, 500)], [exchange({"a": 1}, 400)]) == []
    assert deviations([exchange({}, 500)], [exchange({}, 500)]) != []
    assert deviations([exchange({}, 400)], [exchange({}, 500)]) != []


def test_missing_and_further_steps_are_seen() -> None:
    assert deviations([exchange({})], []) != []
    assert deviations([], [exchange({})]) != []


def test_what_is_accepted_is_the_named_difference_only(tmp_path: Path) -> None:
    file = tmp_path / "accepted.toml"
    file.write_text('[[difference]]\nwhere = "GET /v3/x body.a[].b"\ncame = "nothing"\nwhy = "w"\n')
    (accepted,) = read_accepted(file)
    for came, covered in ((None, True), (2, False)):
        (found,) = deviations([exchange({"a": [{"b": 1}]})], [exchange({"a": [{"b": came}]})])
        assert accepted.covers(found) is covered
