"""One long session of python-cinderclient: `cinderclient_session.py ROOT RECORD`.

Steps are the same whoever answers; `sessions` compares the records. Names sort lists, because
what was made within one tick of a clock has no order of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from cinderclient import client as cinderclient
from keystoneauth1 import http_basic, session

from tests.conformance.clients.recorder import MISSING_ID, Missing, Recorder, until
from tests.conformance.people import OTHER_PROJECT, PASSWORD, PROJECT

ROOT, RECORD = sys.argv[1], Path(sys.argv[2])
VERSIONS = ("3.0", "3.27", "3.44", "3.59", "3.71")
SERVER = "11111111-1111-1111-1111-111111111111"
CONNECTOR = {
    "host": "compute1",
    "initiator": "iqn.1993-08.org.debian:01:1",
    "ip": "127.0.0.1",
    "multipath": False,
    "platform": "x86_64",
    "os_type": "linux",
    "mountpoint": "/dev/vdb",
}
PASSING = (
    "creating",
    "deleting",
    "extending",
    "attaching",
    "detaching",
    "reverting",
    "retyping",
    "downloading",
    "uploading",
)

recorder = Recorder(ROOT)
do = recorder.do


def connect(name: str, version: str = "3.71", project: str = "") -> Any:
    endpoint = f"{ROOT}/v3/{project}" if project else f"{ROOT}/v3"
    plugin = http_basic.HTTPBasicAuth(endpoint=endpoint, username=name, password=PASSWORD)
    return cinderclient.Client(version, session=session.Session(auth=plugin))


admin, member, other, reader = (connect(name) for name in ("admin", "member", "other", "reader"))
compute = connect("compute")
at = {version: connect("admin", version) for version in VERSIONS}
member_at = {version: connect("member", version) for version in VERSIONS}


def at_each(label: str, call: Callable[[Any], Any], clients: dict[str, Any] | None = None) -> None:
    """The same call at every version."""
    for version, client in (clients or at).items():
        do(f"{label} at {version}", lambda client=client: call(client))


def settled(manager: Any, ident: str) -> None:
    until(lambda: manager.get(ident), lambda found: found.status not in PASSING)


def gone(manager: Any, ident: str) -> None:
    until(lambda: manager.get(ident), lambda _: False)


def new_volume(label: str, *, client: Any = None, size: int = 1, **wishes: Any) -> Any:
    client = client or member
    volume = do(label, lambda: client.volumes.create(size, **wishes))
    settled(client.volumes, volume.id)
    return volume


def new_snapshot(label: str, volume: Any, **wishes: Any) -> Any:
    snapshot = do(label, lambda: member.volume_snapshots.create(volume.id, **wishes))
    settled(member.volume_snapshots, snapshot.id)
    return snapshot


def raw(label: str, method: str, path: str, body: Any = None, client: Any = None) -> Any:
    """A request that the client's own methods would not send."""
    http = (client or admin).client
    send = {"GET": http.get, "POST": http.post, "PUT": http.put, "DELETE": http.delete}[method]
    return do(label, lambda: send(path, **({} if body is None else {"body": body})))


# -- chapters


def versions_and_extensions() -> None:
    do("versions: server's", lambda: admin.services.server_api_version())
    with recorder.step("versions: root"):
        admin.client.session.get(f"{ROOT}/", authenticated=False, raise_exc=False)
    with recorder.step("versions: /v3/"):
        admin.client.session.get(f"{ROOT}/v3/", raise_exc=False)
    raw("extensions", "GET", "/extensions")
    raw("extension: one", "GET", "/extensions/os-hosts")
    raw("extension: unknown", "GET", "/extensions/nothing")
    do("resource filters", lambda: admin.resource_filters.list())
    do("resource filters: volume", lambda: admin.resource_filters.list(resource="volume"))
    do("resource filters: unknown", lambda: admin.resource_filters.list(resource="x"))
    at_each("resource filters", lambda client: client.resource_filters.list())


def types() -> Any:
    make = admin.volume_types.create
    gold = do("type: create", lambda: make("gold", description="text"))
    private = do("type: create private", lambda: make("private", is_public=False))
    shared = do("type: create shared", lambda: make("shared"))
    do("type: set keys", lambda: gold.set_keys({"volume_backend_name": "disks", "a:b": "c"}))
    do("type: multiattach", lambda: shared.set_keys({"multiattach": "<is> True"}))
    do("type: get keys", lambda: gold.get_keys())
    do("type: get keys by member", lambda: member.volume_types.get(gold.id).get_keys())
    do("type: unset keys", lambda: gold.unset_keys(["a:b"]))
    do("type: unset missing key", lambda: gold.unset_keys(["nothing"]))
    raw("type: one key", "GET", f"/types/{gold.id}/extra_specs/volume_backend_name")
    raw("type: put one key", "PUT", f"/types/{gold.id}/extra_specs/x", {"x": "y"})
    raw("type: put another key", "PUT", f"/types/{gold.id}/extra_specs/x", {"z": "y"})
    raw("type: bad key", "POST", f"/types/{gold.id}/extra_specs", {"extra_specs": {"ä b": "1"}})
    raw("type: bad value", "POST", f"/types/{gold.id}/extra_specs", {"extra_specs": {"k": [1]}})
    do("type: unset x", lambda: gold.unset_keys(["x", "k", "ä b"]))
    do("type: update", lambda: admin.volume_types.update(gold.id, "gold", "changed"))
    do("type: update to taken name", lambda: admin.volume_types.update(gold.id, name="shared"))
    do("type: duplicate", lambda: make("gold"))
    do("type: empty name", lambda: make(""))
    do("type: by member", lambda: member.volume_types.create("mine"))
    do("type: default", lambda: member.volume_types.default())
    at_each("type: show", lambda client: client.volume_types.get(gold.id))
    at_each("type: show by member", lambda one: one.volume_types.get(gold.id), member_at)
    do("type: show private by member", lambda: member.volume_types.get(private.id))
    do("type: unknown", lambda: admin.volume_types.get(MISSING_ID))
    raw("type: list by name", "GET", "/types?sort=name:asc&is_public=None")
    raw("type: list public", "GET", "/types?sort=name:asc")
    raw("type: list by member", "GET", "/types?sort=name:asc", client=member)
    raw("type: list page", "GET", "/types?sort=name:asc&limit=1&is_public=None")
    raw("type: list next page", "GET", f"/types?sort=name:asc&limit=1&marker={gold.id}")
    raw("type: list by spec", "GET", "/types?extra_specs={'volume_backend_name':'disks'}")
    raw("type: bad is_public", "GET", "/types?is_public=maybe")
    access(private, gold)
    encryption(gold)
    return gold, private, shared


def access(private: Any, public: Any) -> None:
    grants = admin.volume_type_access
    do("access: add", lambda: grants.add_project_access(private.id, PROJECT))
    do("access: add again", lambda: grants.add_project_access(private.id, PROJECT))
    do("access: list", lambda: grants.list(private.id))
    do("access: list of public", lambda: grants.list(public.id))
    do("access: list by member", lambda: member.volume_type_access.list(private.id))
    do("access: granted type by member", lambda: member.volume_types.get(private.id))
    do("access: add to public", lambda: grants.add_project_access(public.id, PROJECT))
    do("access: remove", lambda: grants.remove_project_access(private.id, PROJECT))
    do("access: remove again", lambda: grants.remove_project_access(private.id, PROJECT))
    raw("access: bad body", "POST", f"/types/{private.id}/action", {"addProjectAccess": {}})


def encryption(gold: Any) -> None:
    secret = do("encryption: type", lambda: admin.volume_types.create("secret"))
    specs = {
        "provider": "luks",
        "cipher": "aes-xts-plain64",
        "key_size": 256,
        "control_location": "front-end",
    }
    manager = admin.volume_encryption_types
    do("encryption: create", lambda: manager.create(secret.id, specs))
    do("encryption: create again", lambda: manager.create(secret.id, specs))
    do("encryption: show", lambda: manager.get(secret.id))
    do("encryption: show of other type", lambda: manager.get(gold.id))
    raw("encryption: one key", "GET", f"/types/{secret.id}/encryption/cipher")
    raw("encryption: update", "PUT", f"/types/{secret.id}/encryption/provider", _sized(512))
    bad = {"encryption": {"provider": "luks", "control_location": "middle"}}
    raw("encryption: bad location", "POST", f"/types/{gold.id}/encryption", bad)
    raw("encryption: no provider", "POST", f"/types/{gold.id}/encryption", {"encryption": {}})
    raw("encryption: bad size", "PUT", f"/types/{secret.id}/encryption/provider", _sized("x"))
    do("encryption: by member", lambda: member.volume_encryption_types.get(secret.id))
    do("encryption: delete", lambda: manager.delete(secret.id))
    do("encryption: delete again", lambda: manager.delete(secret.id))
    do("encryption: type deleted", lambda: admin.volume_types.delete(secret.id))


def _sized(size: Any) -> dict[str, Any]:
    return {"encryption": {"key_size": size}}


def qos(gold: Any) -> None:
    manager = admin.qos_specs
    one = do("qos: create", lambda: manager.create("fast", {"consumer": "back-end", "iops": "9"}))
    do("qos: create again", lambda: manager.create("fast", {}))
    do("qos: bad consumer", lambda: manager.create("bad", {"consumer": "nobody"}))
    do("qos: show", lambda: manager.get(one.id))
    do("qos: set keys", lambda: manager.set_keys(one.id, {"iops": "10", "x": "y"}))
    do("qos: unset keys", lambda: manager.unset_keys(one.id, ["x"]))
    do("qos: unset missing key", lambda: manager.unset_keys(one.id, ["nothing"]))
    do("qos: list", lambda: manager.list())
    do("qos: associate", lambda: manager.associate(one.id, gold.id))
    do("qos: associate again", lambda: manager.associate(one.id, gold.id))
    do("qos: associate unknown type", lambda: manager.associate(one.id, MISSING_ID))
    do("qos: associations", lambda: manager.get_associations(one.id))
    do("qos: type shows it", lambda: admin.volume_types.get(gold.id))
    do("qos: delete in use", lambda: manager.delete(one.id))
    do("qos: disassociate", lambda: manager.disassociate(one.id, gold.id))
    do("qos: associate once more", lambda: manager.associate(one.id, gold.id))
    do("qos: disassociate all", lambda: manager.disassociate_all(one.id))
    do("qos: unknown", lambda: manager.get(MISSING_ID))
    do("qos: by member", lambda: member.qos_specs.list())
    do("qos: delete", lambda: manager.delete(one.id))
    do("qos: delete again", lambda: manager.delete(one.id))


def volumes(gold: Any) -> Any:
    alpha = new_volume("volume: create", name="alpha", description="text", metadata={"k": "v"})
    beta = new_volume("volume: create typed", name="beta", volume_type="gold", size=2)
    for version, client in member_at.items():
        made = new_volume(f"volume: create at {version}", name=f"at {version}", client=client)
        do(f"volume: delete at {version}", lambda made=made: made.delete())
        gone(member.volumes, made.id)
    at_each("volume: show by admin", lambda client: client.volumes.get(alpha.id))
    at_each("volume: show by member", lambda client: client.volumes.get(alpha.id), member_at)
    do("volume: show by reader", lambda: reader.volumes.get(alpha.id))
    do("volume: show by other project", lambda: other.volumes.get(alpha.id))
    do(
        "volume: with project in the path",
        lambda: connect("member", "3.71", PROJECT).volumes.list(),
    )
    do(
        "volume: wrong project in the path",
        lambda: connect("member", "3.71", "ffff").volumes.list(),
    )
    lists(alpha, beta)
    changes(alpha)
    bad_volumes(alpha)
    return alpha, beta


LISTS = {
    "detail": "/volumes/detail?sort=name:asc",
    "brief": "/volumes?sort=name:asc",
    "page": "/volumes?sort=name:asc&limit=1",
    "detail page": "/volumes/detail?sort=name:desc&limit=1",
    "offset": "/volumes?sort=name:asc&offset=1",
    "by name": "/volumes/detail?name=alpha",
    "by like name": "/volumes/detail?name~=alp",
    "by status": "/volumes?status=available&sort=size:desc,name:asc",
    "by metadata": "/volumes?metadata={'k':'v'}",
    "by size": "/volumes?size=2",
    "by bootable": "/volumes?bootable=false&sort=name:asc",
    "by bad bootable": "/volumes?bootable=x",
    "by time": "/volumes?created_at=gt:2020-01-01T00:00:00&sort=name:asc",
    "by bad time": "/volumes?created_at=gt:x",
    "with count": "/volumes?with_count=True&limit=1&sort=name:asc",
    "old sort": "/volumes?sort_key=name&sort_dir=desc",
    "bad sort": "/volumes?sort=bogus",
    "bad direction": "/volumes?sort=name:up",
    "bad limit": "/volumes?limit=-1",
    "huge limit": "/volumes?limit=99999999999&sort=name:asc",
    "unknown marker": f"/volumes?marker={MISSING_ID}",
    "unknown filter": "/volumes?foo=bar",
    "all tenants": "/volumes/detail?all_tenants=1&sort=name:asc",
    "summary": "/volumes/summary",
    "summary of all": "/volumes/summary?all_tenants=1",
}


def lists(alpha: Any, beta: Any) -> None:
    for label, path in LISTS.items():
        raw(f"volumes: {label}", "GET", path, client=member)
        raw(f"volumes: {label} by admin", "GET", path)
    raw(
        "volumes: marker", "GET", f"/volumes?sort=name:asc&limit=1&marker={alpha.id}", client=member
    )
    for version, client in at.items():
        raw(f"volumes: unknown filter at {version}", "GET", "/volumes?foo=bar", client=client)
        raw(f"volumes: summary at {version}", "GET", "/volumes/summary", client=client)
        raw(f"volumes: list at {version}", "GET", "/volumes?sort=name:asc", client=client)
        raw(f"volumes: count at {version}", "GET", "/volumes?with_count=1&limit=1", client=client)
    do(
        "volumes: by glance metadata",
        lambda: member.volumes.list(search_opts={"glance_metadata": {}}),
    )


def changes(alpha: Any) -> None:
    manager = member.volumes
    do("volume: update", lambda: manager.update(alpha.id, name="alpha", description="changed"))
    raw("volume: update nothing", "PUT", f"/volumes/{alpha.id}", {"volume": {}})
    raw("volume: update size", "PUT", f"/volumes/{alpha.id}", {"volume": {"size": 5}})
    do("metadata: set", lambda: manager.set_metadata(alpha.id, {"a": "1", "b": "2"}))
    do("metadata: delete", lambda: manager.delete_metadata(alpha.id, ["a"]))
    do("metadata: delete missing", lambda: manager.delete_metadata(alpha.id, ["zz"]))
    do("metadata: replace", lambda: manager.update_all_metadata(alpha.id, {"c": "3"}))
    raw("metadata: show", "GET", f"/volumes/{alpha.id}/metadata", client=member)
    raw("metadata: one", "GET", f"/volumes/{alpha.id}/metadata/c", client=member)
    raw("metadata: put one", "PUT", f"/volumes/{alpha.id}/metadata/c", {"meta": {"c": "4"}})
    raw("metadata: long value", "POST", f"/volumes/{alpha.id}/metadata", _meta("x" * 256))
    raw("metadata: null", "POST", f"/volumes/{alpha.id}/metadata", _meta(None))
    do("extend", lambda: manager.extend(alpha.id, 3))
    settled(manager, alpha.id)
    do("extend: shown", lambda: manager.get(alpha.id))
    do("extend: smaller", lambda: manager.extend(alpha.id, 2))
    do("readonly", lambda: manager.update_readonly_flag(alpha.id, True))
    do("readonly: shown", lambda: manager.get(alpha.id))
    do("readonly: off", lambda: manager.update_readonly_flag(alpha.id, False))
    do("bootable", lambda: manager.set_bootable(alpha.id, True))
    do("bootable: shown", lambda: manager.get(alpha.id))
    do("image metadata: set", lambda: manager.set_image_metadata(alpha.id, {"os": "x", "y": "z"}))
    do("image metadata: show", lambda: manager.show_image_metadata(alpha.id))
    do("image metadata: in volume", lambda: manager.get(alpha.id))
    do("image metadata: delete", lambda: manager.delete_image_metadata(alpha.id, ["os"]))
    do("image metadata: delete missing", lambda: manager.delete_image_metadata(alpha.id, ["os"]))
    do("encryption of the volume", lambda: manager.get_encryption_metadata(alpha.id))
    raw("encryption of the volume: key", "GET", f"/volumes/{alpha.id}/encryption/cipher")
    do("reset: error", lambda: admin.volumes.reset_state(alpha.id, "error"))
    do("reset: shown", lambda: manager.get(alpha.id))
    do("reset: wrong", lambda: admin.volumes.reset_state(alpha.id, "bogus"))
    do("reset: by member", lambda: manager.reset_state(alpha.id, "error"))
    do("error: extend", lambda: manager.extend(alpha.id, 9))
    do("error: reserve", lambda: manager.reserve(alpha.id))
    do("error: attach", lambda: member.attachments.create(alpha.id, {}, SERVER))
    do("error: snapshot", lambda: member.volume_snapshots.create(alpha.id))
    do("reset: available", lambda: admin.volumes.reset_state(alpha.id, "available"))


def _meta(value: Any) -> dict[str, Any]:
    return {"metadata": {"k": value}}


def bad_volumes(alpha: Any) -> None:
    for label, body in {
        "empty": {},
        "no volume": {"x": {}},
        "no size": {"volume": {}},
        "size text": {"volume": {"size": "many"}},
        "size 0": {"volume": {"size": 0}},
        "size huge": {"volume": {"size": 2**40}},
        "name number": {"volume": {"size": 1, "name": 5}},
        "name long": {"volume": {"size": 1, "name": "x" * 256}},
        "unknown key": {"volume": {"size": 1, "bogus": 1}},
        "unknown type": {"volume": {"size": 1, "volume_type": "none"}},
        "unknown zone": {"volume": {"size": 1, "availability_zone": "mars"}},
        "unknown snapshot": {"volume": {"snapshot_id": MISSING_ID}},
        "unknown source": {"volume": {"source_volid": MISSING_ID}},
        "two sources": {"volume": {"snapshot_id": MISSING_ID, "source_volid": MISSING_ID}},
        "smaller clone": {"volume": {"size": 1, "source_volid": alpha.id}},
        "metadata list": {"volume": {"size": 1, "metadata": []}},
        "hint": {"volume": {"size": 1}, "OS-SCH-HNT:scheduler_hints": {"same_host": "x"}},
        "list": [],
    }.items():
        raw(f"bad volume: {label}", "POST", "/volumes", body, client=member)
    do("bad: create by reader", lambda: reader.volumes.create(1))
    do("bad: show unknown", lambda: member.volumes.get(MISSING_ID))
    do("bad: show no uuid", lambda: member.volumes.get("nothing"))
    do("bad: delete unknown", lambda: member.volumes.delete(MISSING_ID))
    do("bad: force delete by member", lambda: member.volumes.force_delete(alpha.id))
    for label, body in {
        "unknown action": {"os-nosuch": {}},
        "two actions": {"os-reserve": None, "os-unreserve": None},
        "no action": {},
        "extend text": {"os-extend": {"new_size": "x"}},
        "extend nothing": {"os-extend": {}},
        "detach": {"os-detach": {}},
        "unbeknown image metadata": {"os-set_image_metadata": {"metadata": {"k": 1}}},
        "attach nothing": {"os-attach": {}},
    }.items():
        raw(f"bad action: {label}", "POST", f"/volumes/{alpha.id}/action", body, client=member)


def snapshots(alpha: Any) -> None:
    manager = member.volume_snapshots
    one = new_snapshot("snapshot: create", alpha, name="one", description="d", metadata={"k": "v"})
    two = new_snapshot("snapshot: create second", alpha, name="two")
    at_each("snapshot: show by admin", lambda client: client.volume_snapshots.get(one.id))
    at_each("snapshot: show by member", lambda it: it.volume_snapshots.get(one.id), member_at)
    do("snapshot: show by other project", lambda: other.volume_snapshots.get(one.id))
    for path in (
        "/snapshots/detail?sort=name:asc",
        "/snapshots?sort=name:asc&limit=1",
        "/snapshots?with_count=true&sort=name:asc",
        "/snapshots?name=one",
        f"/snapshots?volume_id={alpha.id}&sort=name:desc",
        "/snapshots?status=error",
        "/snapshots?metadata={'k':'v'}",
        "/snapshots?foo=1",
        "/snapshots?sort=bogus",
    ):
        raw(f"snapshots: {path}".replace(alpha.id, "ID"), "GET", path, client=member)
    do("snapshot: update", lambda: manager.update(one.id, name="one", description="changed"))
    raw("snapshot: update nothing", "PUT", f"/snapshots/{one.id}", {"snapshot": {}})
    do("snapshot metadata: set", lambda: manager.set_metadata(one.id, {"a": "1"}))
    do("snapshot metadata: delete", lambda: manager.delete_metadata(one.id, ["k"]))
    do("snapshot metadata: replace", lambda: manager.update_all_metadata(one.id, {"z": "1"}))
    raw("snapshot metadata: show", "GET", f"/snapshots/{one.id}/metadata")
    do("snapshot: reset", lambda: admin.volume_snapshots.reset_state(two.id, "error"))
    do("snapshot: volume from error", lambda: member.volumes.create(3, snapshot_id=two.id))
    do("snapshot: reset back", lambda: admin.volume_snapshots.reset_state(two.id, "available"))
    do("snapshot: unknown", lambda: manager.get(MISSING_ID))
    do("snapshot: of unknown", lambda: manager.create(MISSING_ID))
    raw("snapshot: no volume", "POST", "/snapshots", {"snapshot": {}})
    raw("snapshot: bad force", "POST", "/snapshots", _forced(alpha, "x"))
    raw("snapshot: force false", "POST", "/snapshots", _forced(alpha, False))
    do("snapshot: delete volume with it", lambda: member.volumes.delete(alpha.id))
    child = new_volume("volume from snapshot", snapshot_id=one.id, name="child", size=4)
    do("volume from snapshot: shown", lambda: member.volumes.get(child.id))
    clone = new_volume("clone", source_volid=alpha.id, name="clone", size=3)
    do("clone: shown", lambda: admin.volumes.get(clone.id))
    do("revert: not the last", lambda: member.volumes.revert_to_snapshot(alpha.id, one.id))
    do("revert", lambda: member.volumes.revert_to_snapshot(alpha.id, two.id))
    settled(member.volumes, alpha.id)
    do("revert: shown", lambda: member.volumes.get(alpha.id))
    do("revert: unknown", lambda: member.volumes.revert_to_snapshot(alpha.id, MISSING_ID))
    for volume in (child, clone):
        do("volume: delete", lambda volume=volume: member.volumes.delete(volume.id))
        gone(member.volumes, volume.id)
    for snapshot in (one, two):
        do("snapshot: delete", lambda snapshot=snapshot: manager.delete(snapshot.id))
        gone(manager, snapshot.id)
    do("snapshot: delete again", lambda: manager.delete(one.id))


def _forced(volume: Any, force: Any) -> dict[str, Any]:
    return {"snapshot": {"volume_id": volume.id, "force": force}}


def attachments(alpha: Any) -> None:
    manager = compute.attachments
    made = do("attachment: create", lambda: manager.create(alpha.id, {}, SERVER))
    ident = made["id"] if isinstance(made, dict) else MISSING_ID
    do("attachment: volume reserved", lambda: admin.volumes.get(alpha.id))
    do("attachment: second", lambda: manager.create(alpha.id, {}, MISSING_ID))
    do("attachment: update", lambda: manager.update(ident, CONNECTOR))
    do("attachment: volume attaching", lambda: admin.volumes.get(alpha.id))
    do("attachment: complete", lambda: manager.complete(ident))
    for version in ("3.27", "3.44", "3.59", "3.71"):
        do(
            f"attachment: show at {version}",
            lambda version=version: at[version].attachments.show(ident),
        )
    do("attachment: show below 3.27", lambda: raw_show(ident))
    do("attachment: show by member", lambda: member.attachments.show(ident))
    do("attachment: show by other project", lambda: other.attachments.show(ident))
    at_each("attachment: volume in use", lambda client: client.volumes.get(alpha.id))
    do("attachment: volume in use by member", lambda: member.volumes.get(alpha.id))
    raw("attachments: brief", "GET", "/attachments")
    raw("attachments: detail", "GET", "/attachments/detail")
    raw("attachments: of the volume", "GET", f"/attachments?volume_id={alpha.id}")
    raw("attachments: of a server", "GET", f"/attachments/detail?instance_id={SERVER}")
    raw("attachments: page", "GET", "/attachments?limit=1")
    do("in use: delete", lambda: member.volumes.delete(alpha.id))
    do("in use: transfer", lambda: member.transfers.create(alpha.id))
    do("in use: readonly", lambda: member.volumes.update_readonly_flag(alpha.id, True))
    do("in use: revert", lambda: member.volumes.revert_to_snapshot(alpha.id, MISSING_ID))
    do("in use: extend below 3.42", lambda: member_at["3.27"].volumes.extend(alpha.id, 9))
    do("attachment: delete", lambda: manager.delete(ident))
    settled(member.volumes, alpha.id)
    do("attachment: volume available", lambda: admin.volumes.get(alpha.id))
    do("attachment: delete again", lambda: manager.delete(ident))
    do("attachment: unknown", lambda: manager.show(MISSING_ID))
    for label, body in {
        "empty": {"attachment": {}},
        "bad server": {"attachment": {"volume_uuid": alpha.id, "instance_uuid": "x"}},
        "bad volume": {"attachment": {"volume_uuid": "x", "instance_uuid": SERVER}},
        "bad mode": {"attachment": {"volume_uuid": alpha.id, "mode": "x"}},
        "bad connector": {"attachment": {"volume_uuid": alpha.id, "connector": []}},
        "unknown volume": {"attachment": {"volume_uuid": MISSING_ID, "instance_uuid": SERVER}},
        "unknown key": {"attachment": {"volume_uuid": alpha.id, "x": 1}},
    }.items():
        raw(f"bad attachment: {label}", "POST", "/attachments", body)
    at_once = do("attachment: at once", lambda: manager.create(alpha.id, CONNECTOR, SERVER, "ro"))
    ident = at_once["id"] if isinstance(at_once, dict) else MISSING_ID
    do("attachment: at once, volume", lambda: admin.volumes.get(alpha.id))
    do("attachment: at once, deleted", lambda: manager.delete(ident))
    settled(member.volumes, alpha.id)


def raw_show(ident: str) -> Any:
    return at["3.0"].client.get(f"/attachments/{ident}")


def legacy_attach(alpha: Any) -> None:
    manager = compute.volumes
    do("legacy: reserve", lambda: manager.reserve(alpha.id))
    do("legacy: reserve again", lambda: manager.reserve(alpha.id))
    do("legacy: reserved", lambda: admin.volumes.get(alpha.id))
    do("legacy: unreserve", lambda: manager.unreserve(alpha.id))
    do("legacy: reserve once more", lambda: manager.reserve(alpha.id))
    do("legacy: initialize", lambda: manager.initialize_connection(alpha.id, CONNECTOR))
    do("legacy: attach", lambda: manager.attach(alpha.id, SERVER, "/dev/vdb", host_name="compute1"))
    do("legacy: attached", lambda: admin.volumes.get(alpha.id))
    do("legacy: attached at 3.0", lambda: at["3.0"].volumes.get(alpha.id))
    raw("legacy: attachments", "GET", "/attachments/detail")
    do("legacy: begin detaching", lambda: manager.begin_detaching(alpha.id))
    do("legacy: detaching", lambda: admin.volumes.get(alpha.id))
    do("legacy: roll detaching", lambda: manager.roll_detaching(alpha.id))
    do("legacy: begin again", lambda: manager.begin_detaching(alpha.id))
    do("legacy: terminate", lambda: manager.terminate_connection(alpha.id, CONNECTOR))
    do("legacy: detach", lambda: manager.detach(alpha.id))
    settled(member.volumes, alpha.id)
    do("legacy: detached", lambda: admin.volumes.get(alpha.id))
    do("legacy: begin detaching available", lambda: manager.begin_detaching(alpha.id))
    do("legacy: initialize nothing", lambda: manager.initialize_connection(alpha.id, {}))


def transfers(beta: Any) -> None:
    for version in ("3.71", "3.44"):
        there_and_back(beta, version)
    dropped = do("transfer: to be dropped", lambda: member.transfers.create(beta.id))
    do("transfer: dropped by other", lambda: other.transfers.delete(dropped.id))
    do("transfer: dropped", lambda: member.transfers.delete(dropped.id))
    do("transfer: volume is back", lambda: member.volumes.get(beta.id))
    do("transfer: of unknown", lambda: member.transfers.create(MISSING_ID))
    raw("transfer: empty", "POST", "/volume-transfers", {"transfer": {}})
    raw("transfer: accept empty", "POST", f"/volume-transfers/{MISSING_ID}/accept", {"accept": {}})


def there_and_back(beta: Any, version: str) -> None:
    theirs = connect("other", version)
    manager = member_at[version].transfers
    new = do(f"transfer: create at {version}", lambda: manager.create(beta.id, name="t"))
    do(f"transfer: show at {version}", lambda: manager.get(new.id))
    do(f"transfer: list at {version}", lambda: manager.list())
    do(f"transfer: brief list at {version}", lambda: manager.list(detailed=False))
    do(f"transfer: volume awaits at {version}", lambda: member.volumes.get(beta.id))
    do(f"transfer: again at {version}", lambda: manager.create(beta.id))
    do(f"transfer: delete volume at {version}", lambda: member.volumes.delete(beta.id))
    do(f"transfer: bad key at {version}", lambda: theirs.transfers.accept(new.id, "bad"))
    do(f"transfer: accept at {version}", lambda: theirs.transfers.accept(new.id, new.auth_key))
    settled(other.volumes, beta.id)
    do(f"transfer: theirs at {version}", lambda: theirs.volumes.get(beta.id))
    do(f"transfer: not mine at {version}", lambda: member.volumes.get(beta.id))
    do(f"transfer: gone at {version}", lambda: manager.get(new.id))
    back = do(f"transfer: back at {version}", lambda: theirs.transfers.create(beta.id))
    do(f"transfer: back accepted {version}", lambda: manager.accept(back.id, back.auth_key))
    settled(member.volumes, beta.id)


def quotas() -> None:
    for version, client in at.items():
        do(f"quota: show at {version}", lambda client=client: client.quotas.get(PROJECT))
    do("quota: usage", lambda: admin.quotas.get(PROJECT, usage=True))
    do("quota: by member", lambda: member.quotas.get(PROJECT))
    do("quota: other's by member", lambda: member.quotas.get(OTHER_PROJECT))
    do("quota: defaults", lambda: admin.quotas.defaults(PROJECT))
    do("quota: update", lambda: admin.quotas.update(OTHER_PROJECT, volumes=7, gigabytes_gold=5))
    do("quota: updated", lambda: admin.quotas.get(OTHER_PROJECT, usage=True))
    do("quota: own", lambda: admin.quotas.update(PROJECT, volumes=5))
    do("quota: below usage", lambda: admin.quotas.update(PROJECT, volumes=1))
    do("quota: just usage", lambda: admin.quotas.update(PROJECT, volumes=2))
    do("quota: over it", lambda: member.volumes.create(1))
    do("quota: snapshot under it", lambda: admin.quotas.update(PROJECT, volumes=10))
    do("quota: unknown", lambda: admin.quotas.update(PROJECT, bogus=1))
    do("quota: negative", lambda: admin.quotas.update(PROJECT, volumes=-2))
    do("quota: text", lambda: admin.quotas.update(PROJECT, volumes="many"))
    do("quota: by member", lambda: member.quotas.update(PROJECT, volumes=100))
    do("quota: delete", lambda: admin.quotas.delete(OTHER_PROJECT))
    do("quota: deleted", lambda: admin.quotas.get(OTHER_PROJECT))
    do("quota class", lambda: admin.quota_classes.get("default"))
    do("quota class: unknown", lambda: admin.quota_classes.get("silver"))
    do("quota class: update", lambda: admin.quota_classes.update("silver", volumes=3))
    do("quota class: updated", lambda: admin.quota_classes.get("silver"))
    do("quota class: by member", lambda: member.quota_classes.get("default"))
    at_each("limits", lambda client: client.limits.get(), member_at)
    do("limits: of a project", lambda: admin.limits.get(OTHER_PROJECT))
    do("limits: other's by member", lambda: member.limits.get(OTHER_PROJECT))


def hosts() -> None:
    raw("hosts", "GET", "/os-hosts")
    raw("hosts: of a service", "GET", "/os-hosts?service=cinder-volume")
    raw("hosts: one", "GET", "/os-hosts/storage1@disks")
    raw("hosts: unknown", "GET", "/os-hosts/nowhere")
    raw("hosts: by member", "GET", "/os-hosts", client=member)
    raw("hosts: disable", "PUT", "/os-hosts/storage1@disks", {"status": "disable"})
    raw("hosts: enable", "PUT", "/os-hosts/storage1@disks", {"status": "enable"})
    raw("hosts: bad status", "PUT", "/os-hosts/storage1@disks", {"status": "x"})


def operators(gold: Any) -> None:
    for binary in ("cinder-volume", "cinder-scheduler", "nothing"):
        at_each(f"services: {binary}", lambda it, name=binary: it.services.list(binary=name))
    do("services: by host", lambda: admin.services.list(host="storage1@disks"))
    do("services: by member", lambda: member.services.list())
    manage = admin.services
    # Not the volume service: what is disabled there stays so, and nothing could be built any more.
    scheduler = ("storage1", "cinder-scheduler")
    do("service: disable", lambda: manage.disable(*scheduler))
    do("service: disable with reason", lambda: manage.disable_log_reason(*scheduler, "why"))
    do("service: shown", lambda: manage.list(binary="cinder-scheduler"))
    do("service: enable", lambda: manage.enable(*scheduler))
    do("service: enabled", lambda: manage.list(binary="cinder-scheduler"))
    do("service: unknown", lambda: manage.disable("nowhere", "cinder-volume"))
    do("service: freeze", lambda: manage.freeze_host("storage1@disks"))
    do("service: thaw", lambda: manage.thaw_host("storage1@disks"))
    do("service: failover", lambda: manage.failover_host("storage1@disks", None))
    raw("service: bad action", "PUT", "/os-services/bogus", {"host": "x"})
    raw("service: reason empty", "PUT", "/os-services/disable-log-reason", {"host": "x"})
    do("log levels: get", lambda: manage.get_log_levels("*", None, "cinder.volume.api"))
    do("log levels: bad", lambda: manage.set_log_levels("loud", "*", None, None))
    do("pools", lambda: admin.pools.list(detailed=False))
    do("pools: detail", lambda: admin.pools.list(detailed=True))
    do("pools: by member", lambda: member.pools.list())
    do("capabilities", lambda: admin.capabilities.get("storage1@disks"))
    do("capabilities: unknown", lambda: admin.capabilities.get("nowhere@x"))
    do("zones", lambda: member.availability_zones.list(detailed=False))
    do("zones: detail", lambda: admin.availability_zones.list(detailed=True))
    do("default type: set", lambda: admin.default_types.create("gold", PROJECT))
    do("default type: show", lambda: admin.default_types.list(PROJECT))
    do("default types", lambda: admin.default_types.list())
    do("default type: takes effect", lambda: member.volume_types.default())
    do("default type: unknown", lambda: admin.default_types.create("nothing", PROJECT))
    do("default type: by member", lambda: member.default_types.create("gold", PROJECT))
    do("default type: in use", lambda: admin.volume_types.delete(gold.id))
    do("default type: unset", lambda: admin.default_types.delete(PROJECT))
    do("default type: unset again", lambda: admin.default_types.delete(PROJECT))
    do("default type: none", lambda: admin.default_types.list(PROJECT))
    raw("default types below 3.62", "GET", "/default-types", client=at["3.59"])


def messages() -> None:
    impossible = do("message: type", lambda: admin.volume_types.create("impossible"))
    do("message: spec", lambda: impossible.set_keys({"capabilities:nothing": "<is> True"}))
    failed = new_volume("message: volume", volume_type="impossible", name="failed")
    do("message: volume failed", lambda: admin.volumes.get(failed.id))
    found = do("messages", lambda: member.messages.list())
    message = found[0] if isinstance(found, list) and found else Missing()
    do("message: show", lambda: member.messages.get(message.id))
    do("message: show at 3.3", lambda: connect("member", "3.3").messages.get(message.id))
    do("message: below 3.3", lambda: connect("member", "3.2").client.get("/messages"))
    do("messages: by other project", lambda: other.messages.list())
    for query in ("limit=1", "sort=bogus", "message_level=ERROR", "request_id=x", "foo=1"):
        raw(f"messages: {query}", "GET", f"/messages?{query}", client=member)
    raw("messages: of the volume", "GET", f"/messages?resource_uuid={failed.id}", client=member)
    do("message: delete by other project", lambda: other.messages.delete(message.id))
    do("message: delete", lambda: member.messages.delete(message.id))
    do("message: delete again", lambda: member.messages.delete(message.id))
    do("message: volume deleted", lambda: member.volumes.delete(failed.id))
    gone(member.volumes, failed.id)
    do("message: type deleted", lambda: admin.volume_types.delete(impossible.id))


def multiattach() -> None:
    volume = new_volume("multiattach: volume", volume_type="shared", name="shared")
    do("multiattach: shown", lambda: admin.volumes.get(volume.id))
    idents = []
    for number, mode in ((1, "rw"), (2, "ro")):
        server = SERVER.replace("1", str(number))
        connector = {**CONNECTOR, "host": f"compute{number}"}
        made = do(
            f"multiattach: {number}",
            lambda server=server, connector=connector, mode=mode: compute.attachments.create(
                volume.id, connector, server, mode
            ),
        )
        idents.append(made["id"] if isinstance(made, dict) else MISSING_ID)
        do(f"multiattach: {number} complete", lambda: compute.attachments.complete(idents[-1]))
    do("multiattach: legacy detach", lambda: compute.volumes.detach(volume.id))
    for ident in idents:
        do("multiattach: delete", lambda ident=ident: compute.attachments.delete(ident))
        do("multiattach: volume", lambda: member.volumes.get(volume.id).status)
    do("multiattach: volume deleted", lambda: member.volumes.delete(volume.id))
    gone(member.volumes, volume.id)


def unmanaging() -> None:
    volume = new_volume("unmanage: volume", name="left")
    snapshot = new_snapshot("unmanage: snapshot", volume)
    do("unmanage: with a snapshot", lambda: admin.volumes.unmanage(volume.id))
    do("unmanage: snapshot by member", lambda: member.volume_snapshots.unmanage(snapshot.id))
    do("unmanage: snapshot goes", lambda: admin.volume_snapshots.unmanage(snapshot.id))
    gone(member.volume_snapshots, snapshot.id)
    do("unmanage: snapshot gone", lambda: member.volume_snapshots.get(snapshot.id))
    do("unmanage: by member", lambda: member.volumes.unmanage(volume.id))
    do("unmanage: goes", lambda: admin.volumes.unmanage(volume.id))
    gone(member.volumes, volume.id)
    do("unmanage: gone", lambda: member.volumes.get(volume.id))
    do("unmanage: unknown", lambda: admin.volumes.unmanage(MISSING_ID))
    do("unmanage: usage", lambda: admin.quotas.get(PROJECT, usage=True))


def moving() -> None:
    """Another type, another place; the backend has one pool."""
    volume, new = new_volume("moving: volume", name="v"), new_volume("moving: another", name="w")
    path, here = f"/volumes/{volume.id}/action", "storage1@disks#pool1"
    for name in ("gold", "shared", "__DEFAULT__"):
        do(f"retype: to {name}", lambda name=name: member.volumes.retype(volume.id, name, "never"))
        settled(member.volumes, volume.id)
        do(f"retype: now {name}", lambda: member.volumes.get(volume.id))
    do("retype: the same", lambda: member.volumes.retype(volume.id, "__DEFAULT__", "on-demand"))
    do("retype: unknown", lambda: member.volumes.retype(volume.id, "nothing", "never"))
    do("retype: by other project", lambda: other.volumes.retype(volume.id, "gold", "never"))
    do("retype: by reader", lambda: reader.volumes.retype(volume.id, "gold", "never"))
    do("retype: unknown volume", lambda: member.volumes.retype(MISSING_ID, "gold", "never"))
    for value in ({}, {"new_type": 5}, {"new_type": "gold", "x": 1}, None):
        raw(f"retype: {value}", "POST", path, {"os-retype": value}, client=member)
    for policy in (None, "always", ""):
        wanted = {"new_type": "gold", "migration_policy": policy}
        raw(f"retype: policy {policy}", "POST", path, {"os-retype": wanted}, client=member)
    do("retype: usage", lambda: admin.quotas.get(PROJECT, usage=True))
    move = admin.volumes.migrate_volume
    do("migrate: where it is", lambda: move(volume.id, here, False, False))
    do("migrate: unknown backend", lambda: move(volume.id, "storage1@nothing#x", False, True))
    do("migrate: nowhere", lambda: move(volume.id, "", False, False))
    do("migrate: by member", lambda: member.volumes.migrate_volume(volume.id, here, False, False))
    do("migrate: unknown volume", lambda: move(MISSING_ID, here, False, False))
    do("migrate: cluster", lambda: move(volume.id, None, False, False, "nothing"))
    for value in (
        {},
        {"host": 5},
        {"host": here, "x": 1},
        {"host": here, "lock_volume": "perhaps"},
    ):
        raw(f"migrate: {value}", "POST", path, {"os-migrate_volume": value})
    do("migrate: still", lambda: admin.volumes.get(volume.id))
    done = {"new_volume": new.id}
    for label, value, who in (
        ("said", done, admin),
        ("by member", done, member),
        ("unknown", {"new_volume": MISSING_ID}, admin),
        ("no id", {"new_volume": "x"}, admin),
        ("nothing", {}, admin),
    ):
        body = {"os-migrate_volume_completion": value}
        raw(f"migrate: completion {label}", "POST", path, body, client=who)
    for one in (volume, new):
        do("moving: deleted", lambda one=one: member.volumes.delete(one.id))
        gone(member.volumes, one.id)


def for_services(alpha: Any) -> None:
    """Actions that only the compute service uses, and operators when it is gone."""
    path = f"/volumes/{alpha.id}/action"
    for label, body in {
        "force detach": {"os-force_detach": {}},
        "force detach with connector": {"os-force_detach": {"connector": CONNECTOR}},
        "force delete": {"os-force_delete": None},
        "growth done": {"os-extend_volume_completion": {"error": False}},
        "growth, bad": {"os-extend_volume_completion": {"error": "x"}},
        "migration status": {"os-reset_status": {"migration_status": "none"}},
        "attach status": {"os-reset_status": {"attach_status": "detached"}},
        "attach status, bad": {"os-reset_status": {"attach_status": "x"}},
        "reset nothing": {"os-reset_status": {}},
    }.items():
        who = member if label in ("force delete", "force detach") else admin
        raw(f"for services: {label}", "POST", path, body, client=who)
    do("for services: volume", lambda: admin.volumes.get(alpha.id))
    snapshot = new_snapshot("for services: snapshot", alpha, name="s")
    manager = admin.volume_snapshots
    for status in ({"status": "creating", "progress": "50%"}, {"status": "bogus"}, {}):
        label = f"for services: {status or 'nothing'}"
        do(label, lambda status=status: manager.update_snapshot_status(snapshot.id, status))
    do("for services: snapshot reset", lambda: manager.reset_state(snapshot.id, "available"))
    do("for services: snapshot shown", lambda: manager.get(snapshot.id))
    do("for services: snapshot force deleted", lambda: manager.delete(snapshot.id, force=True))
    gone(manager, snapshot.id)


def end(alpha: Any, beta: Any, gold: Any, private: Any, shared: Any) -> None:
    last = new_snapshot("end: snapshot", alpha, name="last")
    do("end: type in use", lambda: admin.volume_types.delete(gold.id))
    do("end: cascade", lambda: member.volumes.delete(alpha.id, cascade=True))
    do("end: force", lambda: admin.volumes.force_delete(beta.id))
    for volume in (alpha, beta):
        gone(member.volumes, volume.id)
    do("end: snapshot gone", lambda: member.volume_snapshots.get(last.id))
    do("end: volume gone", lambda: member.volumes.get(alpha.id))
    for one in (gold, private, shared):
        do("end: type deleted", lambda one=one: admin.volume_types.delete(one.id))
    do("end: type deleted again", lambda: admin.volume_types.delete(gold.id))
    do("end: nothing left", lambda: admin.volumes.list(search_opts={"all_tenants": 1}))
    do("end: usage", lambda: admin.quotas.get(PROJECT, usage=True))


def main() -> None:
    versions_and_extensions()
    gold, private, shared = types()
    qos(gold)
    alpha, beta = volumes(gold)
    snapshots(alpha)
    attachments(alpha)
    legacy_attach(alpha)
    for_services(alpha)
    unmanaging()
    moving()
    transfers(beta)
    multiattach()
    quotas()
    hosts()
    operators(gold)
    messages()
    end(alpha, beta, gold, private, shared)
    recorder.save(RECORD)


main()
