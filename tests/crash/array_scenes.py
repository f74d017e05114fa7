"""What the driver of an array is asked for while requests go wrong: each verb, what was there
before, and what must be there after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid5

from breezeblock.drivers.base import Driver, Item, Snapshot, Volume

POOL, OTHER = "vol1", "vol2"
HOST, NEIGHBOUR = "rack1", "rack2"
NAMES = UUID("5a0e0000-0000-4000-8000-000000000001")
LIMITED = {"maxIOPS": "500"}


def ident(name: str) -> str:
    return str(uuid5(NAMES, name))


VOLUME = Volume(ident("volume"), 1, POOL)
SECOND = Volume(ident("second"), 1, OTHER)
COPY = Volume(ident("copy"), 2, POOL)
SNAPSHOT = Snapshot(ident("snapshot"), VOLUME.id, 1, POOL)
OF_SECOND = Snapshot(ident("snapshot of second"), SECOND.id, 1, OTHER)
QOS_VOLUME = replace(VOLUME, qos=LIMITED)
MOVED = replace(VOLUME, pool=OTHER)
STRANGER = "/vol/vol1/stranger"


def connector(host: str, *more: str) -> dict[str, Any]:
    return {"host": host, "initiator": f"iqn.2026-11.test:{'-'.join((host, *more))}"}


@dataclass(frozen=True)
class Scene:
    """A verb. `before` prepares, `call` is what goes wrong, `after` what the backend then holds.

    `shown` looks at what no inventory tells. `strangers`: paths of LUNs that are not ours, before.
    """

    name: str
    call: Callable[[Driver], object]
    after: Callable[[], Iterable[Item]]
    before: Callable[[Driver], object] = lambda _driver: None
    shown: Callable[[Driver], object] = lambda _driver: None
    strangers: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        return self.name


def _volume(volume: Volume = VOLUME, size: int | None = None) -> Item:
    return Item("volume", volume.id, size or volume.size, pool=volume.pool)


def _snapshot(snapshot: Snapshot = SNAPSHOT) -> Item:
    return Item("snapshot", snapshot.id, 1, snapshot.volume_id, pool=snapshot.pool)


def _export(host: str = HOST, volume: Volume = VOLUME) -> Item:
    return Item("export", volume.id, host=host)


def _made(driver: Driver) -> None:
    driver.create(VOLUME, None)


def _frozen(driver: Driver) -> None:
    _made(driver)
    driver.snapshot(SNAPSHOT)


def _let_in(driver: Driver) -> None:
    _made(driver)
    driver.export(VOLUME, connector(HOST))


def _two_let_in(driver: Driver) -> None:
    """Another volume for the same host, and the same volume for another host."""
    _let_in(driver)
    driver.create(SECOND, None)
    driver.export(SECOND, connector(HOST))
    driver.export(VOLUME, connector(NEIGHBOUR))


def _both(driver: Driver) -> None:
    _made(driver)
    driver.create(SECOND, None)


def _limit(driver: Driver) -> object:
    """The policy group that the volume's LUN is in."""
    found = driver.client.records(  # type: ignore[attr-defined]
        "/storage/luns", {"name": f"/vol/*/volume-{VOLUME.id}"}, fields=("qos_policy.name",)
    )
    return [one.get("qos_policy", {}).get("name") for one in found]


def _info(driver: Driver) -> object:
    """What a host is told: the same each time."""
    return driver.export(VOLUME, connector(HOST))


SCENES = (
    Scene("create", _made, lambda: [_volume()]),
    Scene(
        "create with limits",
        lambda driver: driver.create(QOS_VOLUME, None),
        lambda: [_volume()],
        shown=_limit,
    ),
    Scene(
        "create from a snapshot, larger",
        lambda driver: driver.create(COPY, SNAPSHOT),
        lambda: [_volume(), _snapshot(), _volume(COPY)],
        before=_frozen,
    ),
    Scene(
        "create from a volume",
        lambda driver: driver.create(COPY, VOLUME),
        lambda: [_volume(), _volume(COPY)],
        before=_made,
    ),
    Scene("delete", lambda driver: driver.delete(VOLUME), list, before=_made),
    Scene(
        "delete with limits",
        lambda driver: driver.delete(QOS_VOLUME),
        list,
        before=lambda driver: driver.create(QOS_VOLUME, None),
    ),
    Scene("delete what is exported", lambda d: d.delete(VOLUME), list, before=_let_in),
    Scene(
        "extend",
        lambda driver: driver.extend(VOLUME, 2),
        lambda: [_volume(size=2)],
        before=_made,
    ),
    Scene(
        "snapshot",
        lambda driver: driver.snapshot(SNAPSHOT),
        lambda: [_volume(), _snapshot()],
        before=_made,
    ),
    Scene(
        "delete a snapshot",
        lambda driver: driver.delete_snapshot(SNAPSHOT),
        lambda: [_volume()],
        before=_frozen,
    ),
    Scene(
        "revert",
        lambda driver: driver.revert(VOLUME, SNAPSHOT, turn="one"),
        lambda: [_volume(), _snapshot()],
        before=_frozen,
    ),
    Scene(
        "export",
        lambda driver: driver.export(VOLUME, connector(HOST)),
        lambda: [_volume(), _export()],
        before=_made,
        shown=_info,
    ),
    Scene(
        "export to a host that has another volume and another name",
        lambda driver: driver.export(VOLUME, connector(HOST)),
        lambda: [_volume(), _volume(SECOND), _export(), _export(volume=SECOND)],
        before=lambda d: (_both(d), d.export(SECOND, connector(HOST, "former"))),
        shown=_info,
    ),
    Scene(
        "unexport",
        lambda driver: driver.unexport(VOLUME, HOST),
        lambda: [_volume()],
        before=_let_in,
    ),
    Scene(
        "unexport one of several",
        lambda driver: driver.unexport(VOLUME, HOST),
        lambda: [_volume(), _volume(SECOND), _export(NEIGHBOUR), _export(volume=SECOND)],
        before=_two_let_in,
    ),
    Scene("release", lambda driver: driver.release(VOLUME), list, before=_let_in),
    Scene(
        "release a snapshot",
        lambda driver: driver.release_snapshot(SNAPSHOT),
        lambda: [_volume()],
        before=_frozen,
    ),
    Scene(
        "adopt",
        lambda driver: driver.adopt(VOLUME, {"source-name": STRANGER}),
        lambda: [_volume()],
        strangers=(STRANGER,),
    ),
    Scene(
        "retype",
        lambda driver: driver.retype(QOS_VOLUME),
        lambda: [_volume()],
        before=_made,
        shown=_limit,
    ),
    Scene(
        "move",
        lambda driver: driver.move(VOLUME, OTHER),
        lambda: [_volume(MOVED), _export(volume=MOVED)],
        before=_let_in,
    ),
    Scene(
        "snapshots of one moment",
        lambda driver: driver.snapshot_together([SNAPSHOT, OF_SECOND]),
        lambda: [_volume(), _volume(SECOND), _snapshot(), _snapshot(OF_SECOND)],
        before=_both,
    ),
)
