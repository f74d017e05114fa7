"""How Tempest's outcomes are counted."""

from __future__ import annotations

from tests.conformance.tempest import Outcome, end_of, judge, of_each

RECORDED = {
    "a.B.test_one[id-1]": {"status": "success", "reason": ""},
    "setUpClass (a.C)": {"status": "skip", "reason": "no backups"},
    "tearDownClass (a.B)": {"status": "fail", "reason": "left something"},
}


def test_what_befalls_a_class_befalls_its_tests_and_none_is_lost() -> None:
    listed = ["a.B.test_one[id-1]", "a.C.test_two[id-2,slow]", "a.D.test_three"]
    assert list(of_each(listed, RECORDED)) == [
        Outcome("a.B.test_one", "success"),
        Outcome("a.C.test_two", "skip", "no backups"),
        Outcome("a.D.test_three", "lost", "it never ran"),
        Outcome("tearDownClass (a.B)", "fail", "left something"),
    ]


def test_an_accepted_failure_is_skipped_and_one_that_passes_is_a_failure() -> None:
    outcomes = [
        Outcome("passes", "success"),
        Outcome("fails", "fail", "Traceback\n  File x\nError: why"),
        Outcome("known", "fail", "Traceback"),
        Outcome("mended", "success"),
        Outcome("lost", "lost", "it never ran"),
        Outcome("skipped", "skip", "backup is off"),
    ]
    result = judge(outcomes, {"known": "as it must be", "mended": "no more"})
    assert (result.passed, result.failed, result.skipped) == (1, 3, 2)
    told = "\n".join(str(detail) for detail in result.details)
    assert "Error: why" in told
    assert "mended" in told
    assert "known: as it must be" in told
    assert "backup is off" in told


def test_an_accepted_test_that_is_there_no_more_is_a_failure() -> None:
    result = judge([Outcome("a", "success")], {"b": "why"}, whole=True)
    assert result.failed == 1
    assert judge([Outcome("a", "success")], {"b": "why"}).failed == 0


def test_the_end_of_a_traceback_is_what_was_raised() -> None:
    text = 'Traceback (most recent call last):\n  File "x"\n    call()\nBad: request\nDetails: {}'
    assert end_of(text) == "Bad: request\nDetails: {}"
    assert end_of("it never ran") == "it never ran"
    told = f"{text}\n\nOn instance:\n    {{}}\n\nDuring handling:\n\n{text}\n\n"
    assert end_of(told).strip() == "Bad: request\nDetails: {}"
