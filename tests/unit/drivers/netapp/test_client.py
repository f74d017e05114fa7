"""The client of ONTAP's REST interface: pages, jobs, and what its failures mean."""

from __future__ import annotations

import sys
from typing import Any

import httpx2
import msgspec
import pytest

from breezeblock.drivers.base import PermanentError, StillWorking, TemporaryError
from breezeblock.drivers.netapp import client as module
from breezeblock.drivers.netapp.client import (
    JobLost,
    OntapError,
    bounded,
    in_our_words,
    part,
)
from tests.unit.drivers.netapp.ontap import client, refusal


class Thing(msgspec.Struct, frozen=True):
    name: str
    size: int = 0


def fine(**body: Any) -> httpx2.Response:
    return httpx2.Response(200, json=body)


def test_it_says_who_it_is_and_which_svm_it_means() -> None:
    seen: list[httpx2.Request] = []
    ontap = client(lambda request: seen.append(request) or fine(records=[]))
    ontap.records("/storage/luns", {"name": "/vol/a*", "on": True}, fields=("name", "space.size"))
    ontap.records("/cluster/nodes", cluster=True)
    svm, cluster = seen
    assert svm.headers["X-Dot-SVM-Name"] == "svm1"
    assert svm.headers["Authorization"].startswith("Basic ")
    assert "X-Dot-SVM-Name" not in cluster.headers
    assert str(svm.url.copy_with(query=None)) == "https://array.example/api/storage/luns"
    assert dict(svm.url.params) == {
        "name": "/vol/a*",
        "on": "true",
        "max_records": "1000",
        "fields": "name,space.size",
    }


def test_pages_are_read_to_their_end() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        start = int(request.url.params.get("start", "0"))
        following = f"/api/storage/luns?start={start + 1}&max_records=1"
        links = {"next": {"href": following}} if start < 2 else {}
        return fine(records=[{"name": f"n{start}", "size": str(start)}], _links=links)

    found = client(answer).records("/storage/luns", kind=Thing)
    assert found == [Thing("n0", 0), Thing("n1", 1), Thing("n2", 2)]


def test_what_was_made_comes_back_where_asked() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        assert request.headers["Content-Type"] == "application/json"
        asked = request.url.params.get("return_records") == "true"
        return (
            httpx2.Response(201, json={"records": [msgspec.json.decode(request.content)]})
            if (asked)
            else httpx2.Response(201)
        )

    ontap = client(answer)
    assert ontap.post("/storage/luns", {"name": "a"}, returning=True) == {"name": "a"}
    assert ontap.post("/storage/luns", {"name": "a"}) == {}


class Jobs:
    """Answers each change with a job, which says these things in turn."""

    def __init__(self, *said: httpx2.Response) -> None:
        self.said = list(said)
        self.asked: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        if request.method == "GET":
            return self.said.pop(0)
        return httpx2.Response(202, json={"job": {"uuid": "j1"}})


def test_a_job_is_awaited() -> None:
    jobs = Jobs(fine(state="queued"), fine(state="running"), fine(state="success"))
    client(jobs).post("/storage/file/clone", {}, job=True)
    assert jobs.said == []
    assert jobs.asked[0].url.params["return_timeout"] == "15"
    assert {one.url.path for one in jobs.asked[1:]} == {"/api/cluster/jobs/j1"}


@pytest.mark.parametrize(
    "failure",
    [{"error": {"code": "13565952", "message": "busy"}}, {"code": 13565952, "message": "busy"}],
)
def test_a_failed_job_says_why(failure: dict[str, Any]) -> None:
    jobs = Jobs(fine(state="failure", **failure))
    with pytest.raises(OntapError, match="busy") as told:
        client(jobs).delete("/x")
    assert told.value.code == 13565952


def test_a_job_that_the_array_has_lost_is_no_failure() -> None:
    with pytest.raises(JobLost):
        client(Jobs(refusal(4, 404))).patch("/x", {})


def test_a_job_that_takes_long_is_still_working(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL", (5.0,))
    with pytest.raises(StillWorking), bounded(1.0):
        client(Jobs(fine(state="running"))).patch("/x", {})


def test_a_refusal_has_its_code_and_the_field_meant() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        error = {"code": "5374242", "message": "exists", "target": "name"}
        return httpx2.Response(409, json={"error": error})

    with pytest.raises(OntapError) as told:
        client(answer).post("/storage/luns", {})
    assert (told.value.code, told.value.target, told.value.status) == (5374242, "name", 409)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (httpx2.Response(401, json={"error": {"code": "6691623"}}), PermanentError),
        (refusal(6, 403), PermanentError),
        (refusal(917927), PermanentError),
        (refusal(13565952, 500), TemporaryError),
        (httpx2.Response(503, text="<html>"), TemporaryError),
        (httpx2.Response(429), TemporaryError),
        (httpx2.Response(404, text="not json"), PermanentError),
        (httpx2.Response(200, text="not json"), TemporaryError),
    ],
)
def test_what_nobody_expects_is_told_in_the_drivers_words(
    answer: httpx2.Response, expected: type[Exception]
) -> None:
    with pytest.raises(expected) as told, in_our_words():
        client(lambda _: answer).records("/storage/luns")
    assert type(told.value) is expected
    assert "array.example" not in str(told.value)


def test_a_lost_answer_may_mean_that_it_was_done_so_only_reading_is_tried_again() -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.method)
        if len(asked) == 1 or request.method != "GET":
            raise httpx2.RemoteProtocolError("gone", request=request)
        return fine(records=[])

    ontap = client(answer)
    assert ontap.records("/storage/luns") == []
    with pytest.raises(TemporaryError, match="may have done"):
        ontap.delete("/storage/luns/x")
    assert asked == ["GET", "GET", "DELETE"]


def test_a_call_that_has_used_up_its_time_asks_nothing_more() -> None:
    ontap = client(lambda _: pytest.fail("asked"))
    with pytest.raises(TemporaryError, match="too long"), bounded(0):
        ontap.records("/storage/luns")


def test_each_change_is_announced_so_that_tests_can_die_before_it() -> None:
    told: list[tuple[Any, ...]] = []
    listening = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if listening and event == module.REQUEST_EVENT:
            told.append(arguments)

    sys.addaudithook(hook)
    ontap = client(lambda _: fine(records=[]))
    ontap.records("/a")
    ontap.post("/b", {})
    ontap.delete("/c")
    listening = False
    assert told == [("POST", "/b"), ("DELETE", "/c")]


def test_names_in_paths_are_escaped() -> None:
    assert part("a/b.c?") == "a%2Fb%2Ec%3F"
