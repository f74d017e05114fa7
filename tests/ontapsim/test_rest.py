"""What all resources have in common: queries, pages, accounts, jobs."""

from __future__ import annotations

import time

import pytest

from tests.engines.ontap import SVM_PASSWORD, SVM_USER
from tests.ontapsim.house import House

POLICY = {"svm.name": "svm1", "name": "p", "fixed": {"max_throughput_iops": "5"}}


def names(house: House, query: str) -> list[str]:
    return [lun["name"].rpartition("/")[2] for lun in house.records(f"/storage/luns?{query}")]


@pytest.fixture
def three(house: House) -> House:
    for name, size in (("a", "1M"), ("b", "2M"), ("c", "3M")):
        house.lun(f"/vol/vol1/{name}", size=size)
    return house


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name=/vol/vol1/a", "a"),
        ("name=/vol/vol1/a,/vol/vol1/b", "ab"),
        ("name=/vol/vol1/a|/vol/vol1/b", "ab"),
        ("name=*/c", "c"),
        ("name=!*/c", "ab"),
        ("space.size=>=2M", "bc"),
        ("space.size=1M..2M", "ab"),
        ("svm=svm1&space.size=<2097152", "a"),
        ("svm.name=other", ""),
        ("enabled=TRUE", "abc"),
        ("comment=null", "abc"),
        ("comment=!null", ""),
        ("location.volume.name=vol1", "abc"),
    ],
)
def test_filters(three: House, query: str, found: str) -> None:
    assert "".join(names(three, query)) == found


def test_keys_only_and_what_was_filtered_by(three: House) -> None:
    (lun,) = three.records("/storage/luns?space.size=1M")
    assert set(lun) == {"uuid", "name", "space"}
    assert set(lun["space"]) == {"size"}


def test_fields(three: House) -> None:
    (lun,) = three.records("/storage/luns?name=*a&fields=location.volume.name,os_type")
    assert lun["location"] == {"volume": {"name": "vol1"}}
    assert lun["os_type"] == "linux"


@pytest.mark.parametrize(
    ("query", "code"), [("colour=blue", "262179"), ("fields=colour", "262197")]
)
def test_unknown_fields(house: House, query: str, code: str) -> None:
    assert house.refused("GET", f"/storage/luns?{query}") == code


def test_pages_of_two(house: House) -> None:
    for number in range(5):
        house.lun(f"/vol/vol1/l{number}")
    path, found, pages = "/api/storage/luns?max_records=2&fields=name", [], 0
    while path:
        body = house.call("GET", path).body
        found += [lun["name"] for lun in body["records"]]
        path = body.get("_links", {}).get("next", {}).get("href")
        pages += 1
    assert found == [f"/vol/vol1/l{number}" for number in range(5)]
    assert pages == 3


def test_a_page_misses_nothing_when_records_go_meanwhile(three: House) -> None:
    body = three.call("GET", "/api/storage/luns?max_records=2").body
    three.api("DELETE", "/storage/luns?name=/vol/vol1/b")
    rest = three.call("GET", body["_links"]["next"]["href"]).body
    assert [lun["name"] for lun in rest["records"]] == ["/vol/vol1/c"]


def test_order(three: House) -> None:
    assert names(three, "order_by=space.size desc".replace(" ", "%20")) == ["c", "b", "a"]


def test_counting_only(three: House) -> None:
    answer = three.api("GET", "/storage/luns?return_records=false")
    assert answer == {"records": [], "num_records": 3}


def test_double_slashes_and_a_double_question_mark(house: House) -> None:
    answer = house.call("GET", "/api//storage/volumes/?return_records=false?max_records=10000")
    assert answer.body["num_records"] == 2


def test_lists_fan_out(house: House) -> None:
    house.igroup("g", "iqn.1994-05.com.redhat:a", "iqn.1994-05.com.redhat:b")
    path = "/protocols/san/igroups?initiators.name=iqn.1994-05.com.redhat:b"
    assert len(house.records(path)) == 1
    assert len(house.records("/network/ip/interfaces?services=data_iscsi")) == 2
    assert len(house.records("/storage/volumes?aggregates.name=aggr1")) == 2


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/none/such", 404, "3"), ("DELETE", "/cluster", 405, "1")],
)
def test_no_such_path(house: House, method: str, path: str, status: int, code: str) -> None:
    answer = house.call(method, f"/api{path}")
    assert (answer.status, answer.code) == (status, code)


@pytest.mark.parametrize("user", ["admin", "nobody"])
def test_wrong_password(house: House, user: str) -> None:
    answer = house.call("GET", "/api/cluster", user=user, password="wrong")
    assert (answer.status, answer.code) == (401, "6691623")


@pytest.mark.parametrize(
    "path", ["/cluster/nodes", "/storage/aggregates", "/storage/disks", "/cluster/counter/tables"]
)
def test_an_svm_account_sees_nothing_of_the_cluster(house: House, path: str) -> None:
    answer = house.call("GET", f"/api{path}", user=SVM_USER, password=SVM_PASSWORD)
    assert (answer.status, answer.code) == (403, "6")


def test_an_svm_account_needs_no_svm_in_a_body(house: House) -> None:
    body = {"name": "/vol/vol1/l", "os_type": "linux", "space.size": "1M"}
    answer = house.call("POST", "/api/storage/luns", body, user=SVM_USER, password=SVM_PASSWORD)
    assert answer.status == 201


def test_the_svm_of_the_header(house: House) -> None:
    body = {"name": "/vol/vol1/l", "os_type": "linux", "space.size": "1M"}
    headers = {"X-Dot-SVM-Name": "svm1"}
    assert house.call("POST", "/api/storage/luns", body, headers=headers).status == 201
    other = {"X-Dot-SVM-Name": "other"}
    assert house.call("GET", "/api/storage/luns", headers=other).code == "2621462"


def test_bad_json(house: House) -> None:
    for raw in (b"{", b"[]", b'{"a": 1, "a.b": 2}'):
        assert house.call("POST", "/api/storage/luns", raw).status == 400


DEEP = [
    b"[" * 100_000,
    b'{"a":' * 3_000 + b"1" + b"}" * 3_000,
    b'{"a":' * 500 + b"1" + b"}" * 500,
    b'{"' + b"a." * 3_000 + b'a": {}}',
    b'{"name": "\xff"}',
]


@pytest.mark.parametrize("body", DEEP, ids=["lists", "objects", "halfway", "dots", "no UTF-8"])
def test_json_that_nobody_can_walk_through(house: House, body: bytes) -> None:
    assert house.refused("POST", "/storage/luns", body) == "262254"
    (entry,) = house.requests()
    assert (entry["status"], entry["body"]) == (400, None)
    for method, path in (("POST", "faults"), ("PATCH", "settings"), ("POST", "takeover")):
        assert house.call(method, f"/simulator/{path}", body).status == 400


def test_a_job_that_is_done_at_once(house: House) -> None:
    answer = house.call("POST", "/api/storage/qos/policies", POLICY)
    assert answer.status == 202
    href = answer.body["job"]["_links"]["self"]["href"]
    assert house.call("GET", href).body["state"] == "success"


def test_a_job_takes_its_time(house: House) -> None:
    house.settings(job_seconds=0.3)
    href = house.api("POST", "/storage/qos/policies", POLICY)["job"]["_links"]["self"]["href"]
    assert house.call("GET", href).body["state"] == "running"
    assert house.records("/storage/qos/policies") == []
    deadline = time.monotonic() + 20
    while house.call("GET", href).body["state"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(house.records("/storage/qos/policies")) == 1


def test_an_error_of_a_job_that_takes_its_time(house: House) -> None:
    house.api("POST", "/storage/qos/policies", POLICY)
    house.settings(job_seconds=0.05)
    path = "/api/storage/qos/policies?return_timeout=20"
    assert house.call("POST", path, POLICY).code == "8454154"


def test_return_timeout_waits(house: House) -> None:
    house.settings(job_seconds=0.05)
    answer = house.call("POST", "/api/storage/qos/policies?return_timeout=20", POLICY)
    assert answer.status == 201


def test_a_job_survives_a_restart(house: House) -> None:
    house.settings(job_seconds=1000)
    uuid = house.api("POST", "/storage/qos/policies", POLICY)["job"]["uuid"]
    house.close()
    house.open()
    assert house.api("GET", f"/cluster/jobs/{uuid}")["state"] == "running"


def test_a_job_is_cancelled(house: House) -> None:
    house.settings(job_seconds=1000)
    uuid = house.api("POST", "/storage/qos/policies", POLICY)["job"]["uuid"]
    house.api("PATCH", f"/cluster/jobs/{uuid}", {"action": "cancel"})
    assert house.api("GET", f"/cluster/jobs/{uuid}")["state"] == "failure"


def test_changing_by_a_filter_that_nothing_matches(house: House) -> None:
    assert house.refused("DELETE", "/storage/luns?name=/vol/vol1/none") == "4"
    house.api("DELETE", "/storage/qos/policies?name=deleted_*")


def test_changing_everything_is_refused(house: House) -> None:
    house.lun()
    assert house.refused("DELETE", "/storage/luns") == "262186"
