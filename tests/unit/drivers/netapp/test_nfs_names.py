"""What the names of files on a FlexVol say, and what they do not."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from breezeblock.drivers.base import PermanentError, Snapshot
from breezeblock.drivers.netapp import nfs_names as names
from breezeblock.drivers.netapp.nfs_names import Export, File, Frozen, Held

ONE, TWO, THREE = (str(uuid.UUID(int=number)) for number in (1, 2, 3))
GIB = 1 << 30


def held(*files: str, size: int = GIB) -> Held:
    return names.held(File(name, size) for name in files)


def test_each_kind_of_file_is_found_again() -> None:
    snapshot = Snapshot(TWO, ONE, 1, "pool")
    export = Export(ONE, "192.0.2.1", "compute-1.example.org")
    making, turn = names.making(ONE), names.turn(ONE, "a turn")
    found = held(
        names.volume(ONE),
        names.snapshot_file(snapshot),
        export.name,
        making,
        turn,
        names.new(THREE),
        names.own(ONE),
    )
    assert found == Held(
        volumes={ONE: GIB},
        snapshots={TWO: Frozen(TWO, ONE, GIB)},
        exports=(export,),
        making=(making,),
        turns=(turn,),
        ours=frozenset({ONE}),
        new=frozenset({THREE}),
    )


def test_what_was_released_is_no_volume_and_no_snapshot() -> None:
    snapshot = names.snapshot_file(Snapshot(TWO, ONE, 1, "pool"))
    files = [names.unmanaged(names.volume(ONE)), names.unmanaged(snapshot)]
    assert held(*files) == Held(unmanaged=frozenset({ONE, TWO}))
    assert names.snapshot_in(files[1]) == (TWO, ONE)
    assert names.volume_in(files[0]) is None


@pytest.mark.parametrize(
    "name",
    [
        "volume-",
        f"volume-{ONE}x",
        f"Volume-{ONE}",
        f"my-volume-{ONE}",
        f"snapshot-{ONE}",
        f"snapshot-{ONE}-of-",
        f".breezeblock-export-{ONE}",
        f".breezeblock-export-{ONE}@192.0.2.1",
        "disk.img",
    ],
)
def test_other_files_say_nothing(name: str) -> None:
    assert held(name) == Held()


@given(
    host=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=15),
    address=st.ip_addresses().map(str),
)
def test_any_hosts_name_can_be_noted(host: str, address: str) -> None:
    export = Export(ONE, address, host)
    assert "/" not in export.name and len(export.name.encode()) <= names.LONGEST
    assert names.held([File(export.name)]).exports == (export,)


def test_a_hosts_name_that_is_too_long_is_refused() -> None:
    with pytest.raises(PermanentError):
        _ = Export(ONE, "192.0.2.1", "h" * 256).name


@given(turns=st.lists(st.text(max_size=300), unique=True, max_size=4))
def test_turns_have_names_of_their_own(turns: list[str]) -> None:
    found = {names.turn(ONE, turn) for turn in turns}
    assert len(found) == len(turns)
    assert set(held(*found).turns) == found
