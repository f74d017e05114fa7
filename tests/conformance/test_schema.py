"""The quick part of the suite `schema`; the whole is `python -m tests.conformance.schema`."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from breezeblock.web.openapi import document
from breezeblock.web.routes import Table
from breezeblock.web.service import block_storage
from tests.conformance.schema import Plan, run
from tests.conformance.storm.narrowed import narrowed
from tests.conformance.storm.verdicts import Judge, is_refusal, parsed
from tests.unit.web.toy import ROUTES

SERVED = json.loads(json.dumps(document(block_storage(), Table(ROUTES))))
DOCUMENT = narrowed(SERVED)
JUDGE = Judge(DOCUMENT)
CREATE = DOCUMENT["paths"]["/boxes"]["post"]
GROW = DOCUMENT["paths"]["/boxes/{box_id}/action#grow"]["post"]
SHRINK = DOCUMENT["paths"]["/boxes/{box_id}/action#shrink"]["post"]
FAULT = {"badRequest": {"code": 400, "message": "no"}}


@pytest.mark.timeout(300)
def test_every_answer_is_one_that_our_document_names() -> None:
    result = run(Plan(("3.71",), true=2, negative=1, lies=2))
    assert result.failed == 0, "\n".join(map(str, result.details))
    assert result.passed > 500


# -- that the judge sees what is wrong --------------------------------------------------------


def reply(status: int, body: Any = None, **headers: str) -> httpx2.Response:
    named = {"x-openstack-request-id": "req-1", **headers}
    if body is None:
        return httpx2.Response(status, headers=named)
    return httpx2.Response(status, json=body, headers=named)


@pytest.mark.parametrize("answer", [reply(202, {"box": {}}), reply(400, FAULT)])
def test_an_answer_that_the_document_names_has_no_faults(answer: httpx2.Response) -> None:
    assert list(JUDGE.faults_of(CREATE, answer)) == []


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (reply(500, {"computeFault": {"code": 500, "message": "?"}}), "500 is never right"),
        (reply(418, {}), "does not name 418"),
        (reply(200, {}), "does not name 200"),
        (reply(202), "should be a body"),
        (reply(202, []), "the answer's"),
        (reply(400, {"error": "no"}), "the answer's"),
        (reply(400, {"badRequest": {"code": 404, "message": "no"}}), "the answer's"),
        (reply(413, {"overLimit": {"code": 413, "message": "no"}}), "the answer's"),
        (httpx2.Response(202, json={}), "no request id"),
        (
            httpx2.Response(202, text="yes", headers={"x-openstack-request-id": "req-1"}),
            "content type 'text/plain'",
        ),
    ],
)
def test_what_is_wrong_with_an_answer_is_seen(answer: httpx2.Response, fault: str) -> None:
    assert any(fault in one for one in JUDGE.faults_of(CREATE, answer))


def test_each_action_has_the_success_that_is_its_own() -> None:
    assert list(JUDGE.faults_of(GROW, reply(200, {"grown": 2}))) == []
    assert list(JUDGE.faults_of(SHRINK, reply(202, {}))) == []
    assert list(JUDGE.faults_of(GROW, reply(202, {}))) == ["the document does not name 202"]


def test_bodies_are_judged_by_the_document() -> None:
    assert JUDGE.allows(GROW, {"grow": {"new_size": 2}})
    assert JUDGE.allows(GROW, {"grow": {"new_size": "x"}}) is False
    assert JUDGE.allows(GROW, {"grow": {"new_size": 2}, "shrink": None}) is False
    assert JUDGE.allows(GROW, {"grow": {"new_size": 2.0}}) is None
    assert JUDGE.allows(DOCUMENT["paths"]["/boxes"]["get"], {}) is None


@pytest.mark.parametrize(
    "text", [b"{", b'"\xff"', b"\xef\xbb\xbf{}", b"NaN", rb'"\ud800"', b"1e400"]
)
def test_what_is_no_document_is_not_taken_for_one(text: bytes) -> None:
    with pytest.raises(ValueError):
        parsed(text)


def test_a_refusal_of_the_type_is_told_from_one_of_the_state() -> None:
    wrong = {"badRequest": {"code": 400, "message": "Invalid input for field box.size: no"}}
    assert is_refusal(reply(400, wrong))
    assert not is_refusal(reply(400, FAULT))
    assert not is_refusal(reply(404, {"itemNotFound": wrong["badRequest"]}))
