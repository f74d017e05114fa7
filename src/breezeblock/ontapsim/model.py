"""What the array holds: one frozen record a thing, kept as one row each.

Records name each other by UUID. `name` is what clients filter by; a LUN's is the last part of its
path.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A row: its kind is its class."""

    uuid: str
    name: str = ""


class Cluster(Record, frozen=True, kw_only=True):
    version: str
    job_seconds: float = 0.0
    """How long each asynchronous piece of work takes."""
    move_seconds: float = 0.0
    """How long a LUN's move or copy to another FlexVol takes."""


class Node(Record, frozen=True, kw_only=True):
    serial: str
    model: str
    all_flash: bool
    up: bool = True


class Aggregate(Record, frozen=True, kw_only=True):
    home: str
    """The node that it belongs to; `node` is who serves it now."""
    node: str
    size: int
    raid_type: str
    storage_type: str
    disk_type: str


class Account(Record, frozen=True, kw_only=True):
    password: str
    svm: str | None = None
    """None: the whole cluster."""


class Svm(Record, frozen=True, kw_only=True):
    target: str
    iscsi_port: int
    iscsi: bool = True
    language: str = "c.utf_8"


class Lif(Record, frozen=True, kw_only=True):
    svm: str
    address: str
    services: list[str]
    home: str
    node: str
    enabled: bool = True


class FlexVol(Record, frozen=True, kw_only=True):
    svm: str
    aggregate: str
    size: int
    guarantee: str
    junction: str | None
    snapshot_reserve_percent: int
    deduplication: bool
    compression: bool
    encryption: bool
    snapshot_directory: bool
    created: str
    comment: str = ""
    state: str = "online"
    qos_policy: str | None = None


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """A LUN on its way from another FlexVol: a move of itself, or a copy of another LUN."""

    source: str
    """The path it comes from."""
    source_volume: str
    source_lun: str
    started: float
    due: float
    state: str
    """preparing, replicating, paused, complete or failed, as clients are told."""
    failure: str = ""


class Lun(Record, frozen=True, kw_only=True):
    svm: str
    volume: str
    size: int
    os_type: str
    serial: str
    created: str
    comment: str = ""
    enabled: bool = True
    thin: bool = False
    """Hosts may give blocks back (SCSI UNMAP)."""
    reserved: bool = False
    qos_policy: str | None = None
    attributes: dict[str, str] = {}
    auto_delete: bool = False
    generation: int = 0
    """How often its file was replaced by another."""
    folder: str
    """The FlexVol that its file lies in; a move changes it at its end."""
    move: Transfer | None = None
    copy: Transfer | None = None


class Initiator(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    comment: str = ""


class Igroup(Record, frozen=True, kw_only=True):
    svm: str
    protocol: str
    os_type: str
    comment: str = ""
    delete_on_unmap: bool = False
    initiators: list[Initiator] = []


class LunMap(Record, frozen=True, kw_only=True):
    """Its UUID is `LUN/igroup`."""

    svm: str
    lun: str
    igroup: str
    number: int


class Snapshot(Record, frozen=True, kw_only=True):
    """A FlexVol at one moment; the LUNs as they were then."""

    svm: str
    volume: str
    created: str
    comment: str = ""
    luns: list[Lun] = []


class Policy(Record, frozen=True, kw_only=True):
    """A QoS policy: `fixed` or `adaptive` holds its limits."""

    svm: str
    fixed: dict[str, Any] | None = None
    adaptive: dict[str, Any] | None = None


class FilePolicy(Record, frozen=True, kw_only=True):
    """The QoS policy of a file; its UUID is `FlexVol/path`."""

    policy: str


class Secret(Record, frozen=True, kw_only=True):
    """How an initiator proves who it is; its UUID is `SVM/initiator`."""

    svm: str
    initiator: str
    kind: Literal["chap", "none", "deny"]
    user: str = ""
    password: str = ""
    outbound_user: str = ""
    outbound_password: str = ""


class Group(Record, frozen=True, kw_only=True):
    """A consistency group of FlexVols."""

    svm: str
    volumes: list[str]


class GroupSnapshot(Record, frozen=True, kw_only=True):
    group: str
    created: str
    consistency: str
    comment: str = ""
    snapshots: list[str] = []


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a job does when it is due: a request that was accepted."""

    method: str
    path: str
    query: str
    body: dict[str, Any]
    svm: str | None


class Job(Record, frozen=True, kw_only=True):
    """Asynchronous work; `name` describes it."""

    state: str
    started: str
    due: float
    ended: float | None = None
    ended_at: str = ""
    code: int = 0
    message: str = "success"
    svm: str | None = None
    request: Request | None = None
    location: str | None = None
    """Of what it has made."""
    failure: tuple[str, str] | None = None
    """The error that it was ordered to end with: code and message."""
    lost: bool = False
    """Nobody can ask about it."""
