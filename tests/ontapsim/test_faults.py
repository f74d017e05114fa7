"""Faults to order: each kind, and which calls it hits."""

from __future__ import annotations

import time

import pytest

from tests.ontapsim.house import House

LUN = {"svm.name": "svm1", "name": "/vol/vol1/l", "os_type": "linux", "space.size": "1M"}


def order(house: House, what: str, **more: object) -> None:
    house.control("POST", "faults", {"what": what, "method": "POST", **more})


def test_fail(house: House) -> None:
    order(house, "fail", path="/storage/luns", status=409, code="13565952", message="Device busy")
    answer = house.call("POST", "/api/storage/luns", LUN)
    assert (answer.status, answer.code) == (409, "13565952")
    house.api("POST", "/storage/luns", LUN)


def test_skip_and_times(house: House) -> None:
    order(house, "fail", skip=1, times=2)
    bodies = [{**LUN, "name": f"/vol/vol1/l{n}"} for n in range(4)]
    answers = [house.call("POST", "/api/storage/luns", body).status for body in bodies]
    assert answers == [201, 500, 500, 201]


@pytest.mark.parametrize(
    "other", [{"path": "/storage/volumes*"}, {"query": {"x": "1"}}, {"body": {"name": "*/m"}}]
)
def test_what_does_not_match_passes(house: House, other: dict[str, object]) -> None:
    order(house, "fail", **other)
    house.api("POST", "/storage/luns", LUN)


def test_matches_by_body_and_query(house: House) -> None:
    order(house, "fail", body={"space.size": "1*"}, query={"return_records": "true"})
    nested = {**LUN, "space": {"size": "1M"}}
    del nested["space.size"]
    assert house.call("POST", "/api/storage/luns?return_records=true", nested).status == 500


def test_drop_does_the_work_and_says_nothing(house: House) -> None:
    order(house, "drop")
    with pytest.raises(ConnectionError):
        house.call("POST", "/api/storage/luns", LUN)
    assert len(house.records("/storage/luns")) == 1


def test_refuse_does_nothing(house: House) -> None:
    order(house, "refuse")
    with pytest.raises(ConnectionError):
        house.call("POST", "/api/storage/luns", LUN)
    assert house.records("/storage/luns") == []


def test_late_does_it_when_let_go(house: House) -> None:
    order(house, "late")
    with pytest.raises(ConnectionError):
        house.call("POST", "/api/storage/luns", LUN)
    assert house.records("/storage/luns") == []
    assert house.control("POST", "late") == {"let_go": 1}
    until(lambda: len(house.records("/storage/luns")) == 1)


def test_late_by_the_clock(house: House) -> None:
    order(house, "late", seconds=0.1)
    with pytest.raises(ConnectionError):
        house.call("POST", "/api/storage/luns", LUN)
    until(lambda: len(house.records("/storage/luns")) == 1)


def test_slow(house: House) -> None:
    order(house, "slow", seconds=0.3)
    before = time.monotonic()
    house.api("POST", "/storage/luns", LUN)
    assert time.monotonic() - before >= 0.3


def test_a_job_fails(house: House) -> None:
    order(house, "job_fails", code="42", message="out of luck")
    body = {"svm.name": "svm1", "name": "p", "fixed": {"max_throughput_iops": 5}}
    answer = house.call("POST", "/api/storage/qos/policies", body)
    assert answer.status == 202
    job = house.api("GET", f"/cluster/jobs/{answer.body['job']['uuid']}")
    assert (job["state"], job["error"]["code"]) == ("failure", "42")
    assert house.records("/storage/qos/policies") == []


def test_a_job_is_lost(house: House) -> None:
    order(house, "job_lost")
    body = {"svm.name": "svm1", "name": "p", "fixed": {"max_throughput_iops": 5}}
    answer = house.call("POST", "/api/storage/qos/policies", body)
    assert house.refused("GET", f"/cluster/jobs/{answer.body['job']['uuid']}") == "4"
    assert len(house.records("/storage/qos/policies")) == 1


def test_listed_and_taken_back(house: House) -> None:
    order(house, "fail", times=3)
    (fault,) = house.control("GET", "faults")["faults"]
    assert fault["times"] == 3
    house.control("DELETE", f"faults/{fault['uuid']}")
    assert house.control("GET", "faults")["faults"] == []


def test_nonsense_is_refused(house: House) -> None:
    answer = house.call("POST", "/simulator/faults", {"what": "explode"})
    assert answer.status == 400
    assert "explode" in answer.body["error"]


def test_an_interface_that_is_down_serves_nothing(house: House) -> None:
    lif = house.records("/network/ip/interfaces?name=lif1")[0]["uuid"]
    house.api("PATCH", f"/network/ip/interfaces/{lif}", {"enabled": False})
    assert [address for address, _ in house.svm().portals] == ["127.0.0.3"]
    assert house.records("/network/ip/interfaces?state=up")[0]["name"] == "lif2"


def test_takeover_and_giveback(house: House) -> None:
    house.control("POST", "takeover", {"node": "sim-01"})
    (aggregate,) = house.records("/storage/aggregates?fields=node,home_node")
    assert (aggregate["home_node"]["name"], aggregate["node"]["name"]) == ("sim-01", "sim-02")
    assert [address for address, _ in house.svm().portals] == ["127.0.0.3"]
    house.control("POST", "giveback")
    assert len(house.svm().portals) == 2


def test_the_log_has_each_request_in_order_without_passwords(house: House) -> None:
    body = {
        "svm.name": "svm1",
        "initiator": "default",
        "authentication_type": "chap",
        "chap": {"inbound": {"user": "u", "password": "very-secret"}},
    }
    house.api("POST", "/protocols/san/iscsi/credentials", body)
    house.refused("GET", "/storage/luns/none")
    first, second = house.requests()
    assert (first["method"], first["path"]) == ("POST", "/api/protocols/san/iscsi/credentials")
    assert first["body"]["chap"]["inbound"] == {"user": "u", "password": "********"}
    assert (second["status"], second["code"]) == (404, "5374875")
    assert "very-secret" not in str(house.requests())


def test_reset(house: House) -> None:
    house.lun()
    order(house, "fail")
    house.control("POST", "reset")
    assert house.records("/storage/luns") == []
    assert house.control("GET", "faults")["faults"] == []
    assert list(house.folder.glob("flexvols/*/.luns/*")) == []


def until(holds: object) -> None:
    deadline = time.monotonic() + 20
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)
