"""The seed: what the array has when it is new. A TOML (or JSON) file, checked whole.

Everything that a client makes later (LUNs, igroups, policies, ...) is in the state only; nodes,
aggregates, SVMs, LIFs and accounts come from here.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Annotated, Literal
from uuid import uuid4

import msgspec

from breezeblock.ontapsim import model, names
from breezeblock.ontapsim.clock import timestamp
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.sockets import listen
from breezeblock.ontapsim.state import State

EXAMPLE = Path(__file__).with_name("seed.example.toml")
OLDEST = (9, 8)

Positive = Annotated[float, msgspec.Meta(gt=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Percent = Annotated[int, msgspec.Meta(ge=0, le=90)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class SeedError(ValueError):
    """The seed cannot be used; the text names the key."""


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1)]


class Node(_Table, frozen=True, kw_only=True):
    model: str = "SIMBOX"
    all_flash: bool = True


class Aggregate(_Table, frozen=True, kw_only=True):
    node: str
    size_gb: Positive
    raid_type: str = "raid_dp"
    storage_type: Literal["hdd", "hybrid", "ssd"] = "ssd"
    disk_type: Literal["ssd", "sas", "fsas", "sata", "ssd_nvm"] = "ssd"


class Lif(_Table, frozen=True, kw_only=True):
    address: str
    services: tuple[str, ...] = ("data_iscsi", "data_nfs")
    node: str | None = None


class FlexVol(_Table, frozen=True, kw_only=True):
    aggregate: str
    size_gb: Positive
    guarantee: Literal["none", "volume"] = "none"
    junction: str | None = None
    """Where NFS clients mount it, such as `/vol1`."""
    snapshot_reserve_percent: Percent = 0
    deduplication: bool = True
    compression: bool = True
    encryption: bool = False
    snapshot_directory: bool = True


class Svm(_Table, frozen=True, kw_only=True):
    iscsi_port: Port = 3260
    lifs: list[Lif] = []
    volumes: list[FlexVol] = []


class Account(_Table, frozen=True, kw_only=True):
    password: Annotated[str, msgspec.Meta(min_length=1)]
    svm: str | None = None


class Seed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str = "ontapsim"
    version: str = "9.14.1"
    job_seconds: Seconds = 0
    move_seconds: Seconds = 0
    nodes: Annotated[list[Node], msgspec.Meta(min_length=1)]
    aggregates: Annotated[list[Aggregate], msgspec.Meta(min_length=1)]
    svms: Annotated[list[Svm], msgspec.Meta(min_length=1)]
    accounts: Annotated[list[Account], msgspec.Meta(min_length=1)]


def load(path: Path) -> Seed:
    """Read and check a seed."""
    try:
        raw = path.read_bytes()
        decode = msgspec.json.decode if path.suffix == ".json" else msgspec.toml.decode
        seed = decode(raw, type=Seed)
        check(seed)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise SeedError(f"{path}: {error}") from None
    return seed


def check(seed: Seed) -> None:
    """What types do not say: names are unique, and what is named exists."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", seed.version) or _version(seed) < OLDEST:
        raise SeedError(f"version: {seed.version!r} is not a version such as 9.14.1")
    _unique("nodes", (node.name for node in seed.nodes))
    _unique("aggregates", (aggregate.name for aggregate in seed.aggregates))
    _unique("svms", (svm.name for svm in seed.svms))
    _unique("accounts", (account.name for account in seed.accounts))
    nodes = {node.name for node in seed.nodes}
    svms = {svm.name for svm in seed.svms}
    for place, aggregate in enumerate(seed.aggregates):
        _known(f"aggregates[{place}].node", aggregate.node, nodes)
    for place, account in enumerate(seed.accounts):
        if account.svm is not None:
            _known(f"accounts[{place}].svm", account.svm, svms)
    for place, svm in enumerate(seed.svms):
        _check_svm(f"svms[{place}]", svm, nodes, {a.name for a in seed.aggregates})
    portals = [
        f"{lif.address}:{svm.iscsi_port}"
        for svm in seed.svms
        for lif in svm.lifs
        if "data_iscsi" in lif.services
    ]
    _unique("svms.lifs.address", portals)


def check_addresses(seed: Seed) -> None:
    """Refuse LIFs at addresses where this machine cannot listen."""
    for place, svm in enumerate(seed.svms):
        for number, lif in enumerate(svm.lifs):
            if not {"data_iscsi", "data_nfs"}.intersection(lif.services):
                continue
            try:
                listen((lif.address, 0)).close()
            except OSError as error:
                key = f"svms[{place}].lifs[{number}].address"
                raise SeedError(f"{key}: LIF {lif.name!r}: {error}") from None


def _version(seed: Seed) -> tuple[int, ...]:
    return tuple(int(part) for part in seed.version.split("."))


def _check_svm(where: str, svm: Svm, nodes: set[str], aggregates: set[str]) -> None:
    _unique(f"{where}.lifs", (lif.name for lif in svm.lifs))
    _unique(f"{where}.volumes", (volume.name for volume in svm.volumes))
    _unique(f"{where}.volumes.junction", (v.junction for v in svm.volumes if v.junction))
    for place, lif in enumerate(svm.lifs):
        key = f"{where}.lifs[{place}]"
        try:
            ipaddress.ip_address(lif.address)
        except ValueError:
            raise SeedError(f"{key}.address: {lif.address!r} is not an IP address") from None
        if lif.node is not None:
            _known(f"{key}.node", lif.node, nodes)
    for place, volume in enumerate(svm.volumes):
        key = f"{where}.volumes[{place}]"
        _known(f"{key}.aggregate", volume.aggregate, aggregates)
        try:
            names.object_name(volume.name, f"{key}.name")
        except ApiError as error:
            raise SeedError(f"{error.target}: {error.message}") from None
        if volume.junction is not None and not re.fullmatch(r"(/[^/\s]+)+", volume.junction):
            raise SeedError(f"{key}.junction: {volume.junction!r} is not a path such as /vol1")


def _unique(key: str, found: Iterable[str]) -> None:
    for name, count in Counter(found).items():
        if count > 1:
            raise SeedError(f"{key}: {name!r} is there {count} times")


def _known(key: str, name: str, known: set[str]) -> None:
    if name not in known:
        raise SeedError(f"{key}: there is no {name!r} (there are: {', '.join(sorted(known))})")


def plant(seed: Seed, state: State) -> None:
    """Fill an empty state."""
    state.put(
        model.Cluster(
            uuid=str(uuid4()),
            name=seed.name,
            version=seed.version,
            job_seconds=seed.job_seconds,
            move_seconds=seed.move_seconds,
        )
    )
    for node in seed.nodes:
        serial = f"4082368-{secrets.randbelow(90) + 10}-{secrets.randbelow(9)}"
        state.put(
            model.Node(
                uuid=str(uuid4()),
                name=node.name,
                serial=serial,
                model=node.model,
                all_flash=node.all_flash,
            )
        )
    nodes = {node.name: node.uuid for node in state.all(model.Node)}
    for aggregate in seed.aggregates:
        state.put(
            model.Aggregate(
                uuid=str(uuid4()),
                name=aggregate.name,
                home=nodes[aggregate.node],
                node=nodes[aggregate.node],
                size=int(aggregate.size_gb * names.GIB),
                raid_type=aggregate.raid_type,
                storage_type=aggregate.storage_type,
                disk_type=aggregate.disk_type,
            )
        )
    for svm in seed.svms:
        _plant_svm(svm, state, nodes)
    svms = {svm.name: svm.uuid for svm in state.all(model.Svm)}
    for account in seed.accounts:
        owner = svms[account.svm] if account.svm else None
        state.put(
            model.Account(
                uuid=account.name, name=account.name, password=account.password, svm=owner
            )
        )


def _plant_svm(svm: Svm, state: State, nodes: dict[str, str]) -> None:
    uuid = str(uuid4())
    target = f"iqn.1992-08.com.netapp:sn.{uuid.replace('-', '')}:vs.3"
    state.put(model.Svm(uuid=uuid, name=svm.name, target=target, iscsi_port=svm.iscsi_port))
    for place, lif in enumerate(svm.lifs):
        node = nodes[lif.node] if lif.node else list(nodes.values())[place % len(nodes)]
        state.put(
            model.Lif(
                uuid=str(uuid4()),
                name=lif.name,
                svm=uuid,
                address=lif.address,
                services=list(lif.services),
                home=node,
                node=node,
            )
        )
    for volume in svm.volumes:
        (aggregate,) = state.named(model.Aggregate, volume.aggregate)
        state.put(
            model.FlexVol(
                uuid=str(uuid4()),
                name=volume.name,
                svm=uuid,
                aggregate=aggregate.uuid,
                size=int(volume.size_gb * names.GIB),
                guarantee=volume.guarantee,
                junction=volume.junction,
                snapshot_reserve_percent=volume.snapshot_reserve_percent,
                deduplication=volume.deduplication,
                compression=volume.compression,
                encryption=volume.encryption,
                snapshot_directory=volume.snapshot_directory,
                created=timestamp(),
            )
        )


def agree(seed: Seed, state: State) -> None:
    """Refuse a seed that is not the one of this state: names and addresses, version and accounts.

    An array that exists is changed through its interface, not by another seed.
    """
    lifs = {
        _lif(svm.name, lif.name, lif.address, svm.iscsi_port)
        for svm in seed.svms
        for lif in svm.lifs
    }
    svms = {svm.uuid: svm for svm in state.all(model.Svm)}
    there = {
        _lif(svms[lif.svm].name, lif.name, lif.address, svms[lif.svm].iscsi_port)
        for lif in state.all(model.Lif)
    }
    _same("svms.lifs", lifs, there)
    _same("svms", {svm.name for svm in seed.svms}, {svm.name for svm in svms.values()})
    nodes = {node.name for node in state.all(model.Node)}
    _same("nodes", {node.name for node in seed.nodes}, nodes)
    aggregates = {aggregate.name for aggregate in state.all(model.Aggregate)}
    _same("aggregates", {aggregate.name for aggregate in seed.aggregates}, aggregates)
    accounts = {account.name for account in state.all(model.Account)}
    _same("accounts", {account.name for account in seed.accounts}, accounts)
    (cluster,) = state.all(model.Cluster)
    _same("version", {seed.version}, {cluster.version})


def _lif(svm: str, name: str, address: str, port: int) -> str:
    return f"{name} of {svm} at {address} (iSCSI port {port})"


def _same(key: str, wanted: AbstractSet[str], there: AbstractSet[str]) -> None:
    more, less = ", ".join(sorted(wanted - there)), ", ".join(sorted(there - wanted))
    if more and less:
        what = f"the seed has {more} where the array in the data folder has {less}"
    elif more:
        what = f"the seed has {more}, and the array in the data folder has not"
    elif less:
        what = f"the array in the data folder has {less}, and the seed has not"
    else:
        return
    raise SeedError(f"{key}: {what}; use another folder, or remove this one")
