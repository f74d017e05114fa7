"""One long session of `openstack` commands: `openstack_session.py ROOT RECORD`.

All in one process, because the client takes seconds to start; each command is read and run as from
a shell, with `-f json`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))

from openstackclient import shell
from openstackclient.common import clientmanager
from osc_lib import clientmanager as osc_clientmanager

from tests.conformance.clients.recorder import MISSING_ID, Recorder, until
from tests.conformance.people import OTHER_PROJECT, PASSWORD, PROJECT

ROOT, RECORD = sys.argv[1], Path(sys.argv[2])
SERVER = "11111111-1111-1111-1111-111111111111"

recorder = Recorder(ROOT)


def openstack(command: str, who: str = "admin", version: str = "") -> Any:
    """Run one command; what it printed, as data; None when it failed or printed nothing."""
    options = ["--os-auth-type", "http_basic", "--os-endpoint", f"{ROOT}/v3"]
    options += ["--os-username", who, "--os-password", PASSWORD]
    options += ["--os-volume-api-version", version] if version else []
    _forget_clients()
    out = io.StringIO()
    err = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            shell.OpenStackShell().run([*options, *command.split()])
        except SystemExit as error:
            raise RuntimeError(f"{command}: the client refused it: {err.getvalue()}") from error
    try:
        return json.loads(out.getvalue())
    except ValueError:
        return None


def _forget_clients() -> None:
    """The client keeps its connections in its classes: the next command may be another caller's."""
    for kind in clientmanager.ClientManager.__mro__:
        for value in vars(kind).values():
            if isinstance(value, osc_clientmanager.ClientCache):
                value._handle = None


def do(command: str, who: str = "admin", version: str = "") -> Any:
    """One recorded step, labelled by its command; ids are left out of the label."""
    label = re.sub(r"\b(?:[0-9a-f-]{36}|[0-9a-f]{32}|[0-9a-f]{16})\b", "ID", command)
    with recorder.step(" ".join(filter(None, (label, who, version)))):
        return openstack(command, who, version)


def made(answer: Any, key: str = "id") -> str:
    """The id of what a command made."""
    return str(answer[key]) if isinstance(answer, dict) and answer.get(key) else MISSING_ID


def settled(kind: str, ident: str, who: str = "admin") -> None:
    until(
        lambda: openstack(f"{kind} show {ident} -f json", who) or {"status": "gone"},
        lambda found: not str(found["status"]).endswith("ing"),
    )


def gone(kind: str, ident: str) -> None:
    until(
        lambda: openstack(f"{kind} show {ident} -f json") or {"status": "gone"},
        lambda found: found["status"] == "gone",
    )


def types() -> None:
    do("volume type create silver --description text --property volume_backend_name=disks -f json")
    do("volume type create hidden --private -f json")
    do("volume type list -f json")
    do("volume type list --long --public -f json")
    do("volume type list --default -f json")
    do("volume type show silver -f json")
    do("volume type show nothing -f json")
    do("volume type set silver --property a=b --description changed")
    do("volume type unset silver --property a")
    do("volume type set hidden --name unseen")
    do("volume type show silver -f json", "member")
    do("volume type list -f json", "member")
    encrypted = "--encryption-provider luks --encryption-cipher aes-xts-plain64"
    do(f"volume type create secret {encrypted} --encryption-control-location front-end -f json")
    do("volume type show secret --encryption-type -f json")
    do("volume type list --encryption-type -f json")
    do("volume type set secret --encryption-key-size 256")
    do("volume type unset secret --encryption-type")
    do("volume type delete secret unseen")
    do("volume type delete unseen")


def qos() -> None:
    do("volume qos create fast --consumer back-end --property iops=9 -f json")
    do("volume qos set fast --property iops=10")
    do("volume qos unset fast --property iops")
    do("volume qos associate fast silver")
    do("volume qos list -f json")
    do("volume qos show fast -f json")
    do("volume qos disassociate fast --volume-type silver")
    do("volume qos delete fast")
    do("volume qos list -f json", "member")


def volumes() -> tuple[str, str]:
    alpha = made(do("volume create alpha --size 1 --property k=v -f json", "member"))
    settled("volume", alpha)
    beta = made(
        do("volume create beta --size 2 --type silver --description text -f json", "member")
    )
    settled("volume", beta)
    do("volume list -f json", "member")
    do("volume list --long -f json", "member")
    do("volume list --all-projects -f json")
    do("volume list --name alpha -f json", "member")
    do("volume list --status error -f json", "member")
    do("volume list --limit 1 -f json", "member")
    do("volume list --property k=v -f json", "member")
    do("volume show alpha -f json", "member")
    do(f"volume show {alpha} -f json", "member")
    do(f"volume show {alpha} -f json", "other")
    do("volume show nothing -f json", "member")
    do("volume show alpha -f json", "member", "3.27")
    do("volume show alpha -f json", "member", "3.59")
    do("volume set alpha --description text --property a=b", "member")
    do("volume unset alpha --property a", "member")
    do("volume set alpha --size 3", "member")
    settled("volume", alpha)
    do("volume set alpha --type silver", "member")
    settled("volume", alpha)
    do("volume show alpha -f json", "member")
    do("volume set alpha --type __DEFAULT__ --retype-policy on-demand", "member")
    settled("volume", alpha)
    do("volume set alpha --type nothing --retype-policy never", "member")
    do("volume migrate alpha --host storage1@nothing#pool1")
    do("volume migrate alpha --host storage1@disks#pool1 --lock-volume")
    do("volume migrate alpha --host storage1@disks#pool1", "member")
    do("volume set alpha --bootable", "member")
    do("volume set alpha --non-bootable", "member")
    do("volume set alpha --read-only", "member")
    do("volume set alpha --read-write", "member")
    do("volume set alpha --image-property os=x", "member")
    do("volume unset alpha --image-property os", "member")
    do("volume set alpha --state error")
    do("volume set alpha --state available")
    do("volume set alpha --state error", "member")
    do("volume summary -f json", "member")
    do("volume summary --all-projects -f json")
    do("volume create gamma --size 1 --type nothing -f json", "member")
    do("volume create gamma --size 1 --availability-zone mars -f json", "member")
    return alpha, beta


def snapshots(alpha: str) -> None:
    one = made(do(f"volume snapshot create one --volume {alpha} --property k=v -f json", "member"))
    settled("volume snapshot", one)
    do("volume snapshot list -f json", "member")
    do("volume snapshot list --long --all-projects -f json")
    do("volume snapshot list --volume alpha -f json", "member")
    do("volume snapshot show one -f json", "member")
    do("volume snapshot set one --name first --property a=b", "member")
    do("volume snapshot unset first --property a", "member")
    do("volume snapshot set first --state error")
    do("volume snapshot set first --state available")
    child = made(do("volume create child --snapshot first -f json", "member"))
    settled("volume", child)
    clone = made(do("volume create clone --source alpha -f json", "member"))
    settled("volume", clone)
    do("volume revert first", "member", "3.40")
    settled("volume", alpha)
    for ident in (child, clone):
        do(f"volume delete {ident}", "member")
        gone("volume", ident)
    do("volume delete alpha", "member")
    do("volume snapshot delete first", "member")
    gone("volume snapshot", one)
    do("volume snapshot show first -f json", "member")


def attachments(alpha: str) -> None:
    answer = do(f"volume attachment create {alpha} {SERVER} -f json", "compute", "3.71")
    ident = made(answer, "ID")
    connector = "--initiator iqn.1993-08.org.debian:01:1 --ip 127.0.0.1 --host compute1"
    connector += " --platform x86_64 --os-type linux --mountpoint /dev/vdb"
    do(f"volume attachment set {ident} {connector} -f json", "compute", "3.71")
    do(f"volume attachment complete {ident}", "compute", "3.71")
    do("volume attachment list -f json", "compute", "3.71")
    do(f"volume attachment list --volume-id {alpha} -f json", "compute", "3.71")
    do(f"volume attachment show {ident} -f json", "compute", "3.71")
    do(f"volume attachment show {ident} -f json", "other", "3.71")
    do("volume list --long -f json", "member")
    do("volume show alpha -f json", "member")
    do("volume delete alpha", "member")
    do(f"volume attachment delete {ident}", "compute", "3.71")
    settled("volume", alpha)
    do("volume show alpha -f json", "member")


def transfers(beta: str) -> None:
    request = do(f"volume transfer request create {beta} --name gift -f json", "member", "3.55")
    ident, key = made(request), made(request, "auth_key")
    do("volume transfer request list -f json", "member")
    do("volume transfer request show gift -f json", "member")
    do(f"volume transfer request accept {ident} --auth-key bad -f json", "other", "3.55")
    do(f"volume transfer request accept {ident} --auth-key {key} -f json", "other", "3.55")
    settled("volume", beta)
    do("volume list -f json", "other")
    back = made(do(f"volume transfer request create {beta} -f json", "other"))
    do(f"volume transfer request delete {back}", "other")
    do(f"volume show {beta} -f json", "other")


def operators() -> None:
    do("volume service list --service cinder-scheduler -f json")
    do("volume service list --long --service cinder-volume -f json")
    do("volume service list --service cinder-volume -f json", "member")
    do("volume service set nowhere cinder-volume --enable")
    do("volume backend pool list -f json")
    do("volume backend pool list --long -f json")
    do("volume backend capability show storage1@disks -f json")
    do("availability zone list --volume -f json")
    do("availability zone list --volume --long -f json")
    do("limits show --absolute -f json", "member")
    do("block storage resource filter list -f json", "admin", "3.71")
    do("block storage resource filter show volume -f json", "admin", "3.71")
    do("block storage log level list -f json", "admin", "3.71")
    do("volume message list -f json", "member", "3.71")
    do("extension list --volume -f json")
    do(f"quota show --volume {PROJECT} -f json")
    do(f"quota set --volumes 7 --gigabytes 77 {OTHER_PROJECT}")
    do(f"quota show --volume --usage {OTHER_PROJECT} -f json")
    do(f"quota delete --volume {OTHER_PROJECT}")


def end(alpha: str, beta: str) -> None:
    do(f"volume delete {alpha}", "member")
    do(f"volume delete {beta} --force")
    for ident in (alpha, beta):
        gone("volume", ident)
    do("volume type delete silver")
    do("volume list --all-projects -f json")


def main() -> None:
    os.environ.pop("OS_CLOUD", None)
    types()
    qos()
    alpha, beta = volumes()
    snapshots(alpha)
    attachments(alpha)
    transfers(beta)
    operators()
    end(alpha, beta)
    recorder.save(RECORD)


main()
