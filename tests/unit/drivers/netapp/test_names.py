"""What LUNs and igroups are called, and what their comments say."""

from __future__ import annotations

import uuid

import pytest

from breezeblock.drivers.netapp import names
from breezeblock.drivers.netapp.names import Mark, Name

INITIATOR = "iqn.2026-11.a:b"
ID = "0d3bd1a6-6a0f-4b0e-9f3e-3c1a4f8d2b77"
OTHER = "1d3bd1a6-6a0f-4b0e-9f3e-3c1a4f8d2b77"


@pytest.mark.parametrize(
    "name",
    [
        Name("pool", "volume", ID),
        Name("pool", "snapshot", ID),
        Name("pool", "unmanaged-volume", ID),
        Name("pool", "unmanaged-snapshot", ID),
        Name("pool", "making", ID, "0123456789ab"),
        Name("pool", "new", ID, "0123456789ab"),
        Name("pool", "old", ID, "0123456789ab"),
    ],
    ids=lambda name: name.kind,
)
def test_a_path_says_what_a_lun_is(name: Name) -> None:
    assert names.parse(name.path) == name


@pytest.mark.parametrize(
    "path",
    [
        "/vol/pool/volume-1",
        f"/vol/pool/volume-{ID}-0123",
        f"/vol/pool/volume-{ID.upper()}",
        f"/vol/pool/qtree/volume-{ID}",
        f"/vol/pool/new-{ID}",
        f"/vol/pool/my-volume-{ID}",
        f"/vol/pool/.snapshot/hourly/volume-{ID}",
        "/vol/pool/boot",
    ],
)
def test_other_paths_are_none_of_ours(path: str) -> None:
    assert names.parse(path) is None


@pytest.mark.parametrize(
    "mark",
    [
        Mark("volume", ID),
        Mark("volume", ID, turns=("0123456789ab", "ba9876543210")),
        Mark("snapshot", ID, OTHER),
    ],
)
def test_a_comment_says_what_the_name_does_not(mark: Mark) -> None:
    assert names.mark_of(mark.comment, Name("pool", mark.kind, ID)) == mark


def test_a_comment_about_another_lun_says_nothing() -> None:
    of_the_source = Mark("volume", OTHER, turns=("0123456789ab",)).comment
    assert names.mark_of(of_the_source, names.volume("pool", ID)) == Mark("volume", ID)
    of_a_volume = Mark("volume", ID).comment
    assert names.mark_of(of_a_volume, names.snapshot("pool", ID)) == Mark("snapshot", ID)


def test_turns_are_remembered_the_latest_first_as_long_as_there_is_room() -> None:
    mark = Mark("volume", ID)
    turns = [names.short_turn(str(uuid.uuid4())) for _ in range(40)]
    for turn in turns:
        mark = names.mark_of(mark.serving(turn).comment, names.volume("pool", ID))
        assert len(mark.comment) <= names.LONGEST_COMMENT
    assert len(mark.turns) > 10
    assert list(mark.turns) == turns[::-1][: len(mark.turns)]
    assert mark.serving(turns[-2]).turns[:2] == (turns[-2], turns[-1]), "no turn is there twice"


def test_an_igroup_is_its_hosts_as_long_as_the_comment_says_so() -> None:
    igroup = names.igroup_of_host("host-a", INITIATOR)
    assert igroup.startswith("openstack-") and len(igroup) <= 96
    assert names.host_of(igroup, "host-a", [INITIATOR]) == "host-a"
    assert names.host_of(igroup, "host-b", [INITIATOR]) is None
    assert names.host_of(igroup, "host-a", ["iqn.2026-11.a:c"]) is None
    assert names.host_of("openstack-" + str(uuid.uuid4()), "host-a", [INITIATOR]) is None
    assert names.igroup_of_service(INITIATOR) != names.igroup_of_host("host-a", INITIATOR)


def test_who_comes_as_a_host_with_another_initiator_has_an_igroup_of_his_own() -> None:
    mine, his = (names.igroup_of_host("host-a", one) for one in (INITIATOR, "iqn.2026-11.evil:b"))
    assert mine != his
