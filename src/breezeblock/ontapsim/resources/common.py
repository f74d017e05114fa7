"""Parts of documents and rules that several resources share."""

from __future__ import annotations

from breezeblock.ontapsim import errors
from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.body import Body, Document
from breezeblock.ontapsim.model import FlexVol, Policy, Svm


def reference(record: FlexVol | Svm | Policy) -> Document:
    """How a document names another thing."""
    return {"name": record.name, "uuid": record.uuid}


class Lookup:
    """The records that many documents refer to, read once for a whole list."""

    def __init__(self, array: Array) -> None:
        state = array.state
        self.svms = {svm.uuid: svm for svm in state.all(Svm)}
        self.volumes = {volume.uuid: volume for volume in state.all(FlexVol)}
        self.policies = {policy.uuid: policy for policy in state.all(Policy)}

    def svm(self, uuid: str) -> Document:
        return reference(self.svms[uuid])

    def volume(self, uuid: str) -> Document:
        return reference(self.volumes[uuid])

    def policy(self, uuid: str | None) -> Document:
        """`qos_policy` of what has one, nothing otherwise."""
        policy = self.policies.get(uuid or "")
        return {"qos_policy": reference(policy)} if policy else {}


def policy_named(array: Array, svm: str, body: Body, where: str = "qos_policy") -> str | None:
    """The UUID of the policy that a body names; "none" and nothing are no policy."""
    name, uuid = body.text(f"{where}.name"), body.text(f"{where}.uuid")
    if (not name and not uuid) or name == "none":
        return None
    for policy in array.state.all(Policy):
        known = (not name or policy.name == name) and (not uuid or policy.uuid == uuid)
        if policy.svm == svm and known:
            return policy.uuid
    raise errors.no_such_policy(name or str(uuid), f"{where}.name")
