"""Limits that LUNs, files and FlexVols may have: /storage/qos/policies."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from msgspec.structs import replace

from breezeblock.ontapsim import errors, names
from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.body import Body, Document
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.model import FilePolicy, FlexVol, Lun, Policy
from breezeblock.ontapsim.resources.common import Lookup
from breezeblock.ontapsim.rest import Call, Identity, Resource

FIXED = (
    "max_throughput_iops",
    "max_throughput_mbps",
    "min_throughput_iops",
    "min_throughput_mbps",
)
ADAPTIVE = ("expected_iops", "peak_iops", "absolute_min_iops")
ALLOCATIONS = ("allocated_space", "used_space")
BLOCK_SIZES = ("any", "4k", "8k", "16k", "32k", "64k", "128k")
LONGEST = 127


def _records(call: Call) -> list[Document]:
    lookup = Lookup(call.array)
    return [
        {
            "uuid": policy.uuid,
            "name": policy.name,
            "svm": lookup.svm(policy.svm),
            "policy_class": "user_defined",
            "scope": "svm",
            "object_count": _users(call.array, policy.uuid),
            **({"fixed": policy.fixed} if policy.fixed is not None else {}),
            **({"adaptive": policy.adaptive} if policy.adaptive is not None else {}),
        }
        for policy in lookup.policies.values()
        if call.sees(policy.svm)
    ]


def _users(array: Array, policy: str) -> int:
    """How many things have this policy."""
    state = array.state
    return (
        sum(lun.qos_policy == policy for lun in state.all(Lun))
        + sum(volume.qos_policy == policy for volume in state.all(FlexVol))
        + sum(file.policy == policy for file in state.all(FilePolicy))
    )


def _create(call: Call) -> Identity:
    svm, body = call.svm(), call.body
    name = names.plain_name(body.need("name"), longest=LONGEST)
    _free(call.array, svm.uuid, name)
    if body.has("fixed") == body.has("adaptive"):
        raise ApiError(400, "8454147", "Give either fixed or adaptive limits.", "fixed")
    policy = Policy(
        uuid=str(uuid4()),
        name=name,
        svm=svm.uuid,
        fixed=_fixed(body, {}) if body.has("fixed") else None,
        adaptive=_adaptive(body, {}) if body.has("adaptive") else None,
    )
    call.array.state.put(policy)
    return (policy.uuid,)


def _free(array: Array, svm: str, name: str) -> None:
    if array.of_svm(Policy, svm, name):
        raise ApiError(409, "8454154", f'A QoS policy "{name}" exists already.', "name")


def _fixed(body: Body, old: dict[str, Any]) -> dict[str, Any]:
    part = body.part("fixed")
    part.only((*FIXED, "capacity_shared"))
    limits = old | _numbers(part, FIXED)
    limits["capacity_shared"] = (
        part.flag("capacity_shared")
        if part.has("capacity_shared")
        else limits.get("capacity_shared", False)
    )
    for unit in ("iops", "mbps"):
        most, least = limits.get(f"max_throughput_{unit}"), limits.get(f"min_throughput_{unit}")
        if most and least and least > most:
            text = "The minimum throughput is above the maximum."
            raise ApiError(400, "8454148", text, f"fixed.min_throughput_{unit}")
    if not any(limits.get(name) for name in FIXED):
        raise ApiError(400, "8454147", "A fixed policy needs a limit.", "fixed")
    return limits


def _adaptive(body: Body, old: dict[str, Any]) -> dict[str, Any]:
    part = body.part("adaptive")
    words = {
        "expected_iops_allocation": ALLOCATIONS,
        "peak_iops_allocation": ALLOCATIONS,
        "block_size": BLOCK_SIZES,
    }
    part.only((*ADAPTIVE, *words))
    defaults: dict[str, Any] = {
        "expected_iops_allocation": "allocated_space",
        "peak_iops_allocation": "used_space",
        "block_size": "any",
        "absolute_min_iops": 0,
    }
    limits = defaults | old | _numbers(part, ADAPTIVE)
    for name, choices in words.items():
        text = part.text(name)
        if text is not None:
            text = text.lower().replace("-", "_")
            if text not in choices:
                raise errors.invalid(f"adaptive.{name}", text)
            limits[name] = text
    for name in ("expected_iops", "peak_iops"):
        if not limits.get(name):
            raise errors.required(f"adaptive.{name}")
    if limits["expected_iops"] > limits["peak_iops"]:
        text = "The expected throughput is above the peak."
        raise ApiError(400, "8454148", text, "adaptive.expected_iops")
    return limits


def _numbers(part: Body, known: tuple[str, ...]) -> dict[str, int]:
    numbers = {name: part.number(name) for name in known}
    for name, number in numbers.items():
        if number is not None and number < 0:
            raise errors.invalid(name, number)
    return {name: number for name, number in numbers.items() if number is not None}


def _modify(call: Call, found: Document) -> None:
    policy = call.array.state.get(Policy, found["uuid"])
    body = call.body
    name = body.text("name")
    if name and name != policy.name:
        _free(call.array, policy.svm, names.plain_name(name, longest=LONGEST))
        policy = replace(policy, name=name)
    for kind, limits, merge in (
        ("fixed", policy.fixed, _fixed),
        ("adaptive", policy.adaptive, _adaptive),
    ):
        if body.has(kind):
            if limits is None:
                text = "A fixed policy does not become adaptive, nor the other way round."
                raise ApiError(400, "8454149", text, kind)
            policy = replace(policy, **{kind: merge(body, limits)})
    call.array.state.put(policy)


def _remove(call: Call, found: Document) -> None:
    if found["object_count"]:
        text = f'The QoS policy "{found["name"]}" is in use.'
        raise ApiError(409, "8454158", text, "name")
    call.array.state.drop(call.array.state.get(Policy, found["uuid"]))


RESOURCE = Resource(
    path="/storage/qos/policies",
    fields="uuid name svm policy_class scope object_count fixed adaptive pgid",
    keys=("uuid", "name", "svm"),
    records=_records,
    create=_create,
    modify=_modify,
    remove=_remove,
    jobs=("POST", "PATCH", "DELETE"),
    missing=lambda uuid: errors.no_such_policy(uuid, "uuid"),
)
ROUTES = RESOURCE.routes()
