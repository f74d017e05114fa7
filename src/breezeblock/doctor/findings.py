"""What the doctor says: findings, each with what to do about it."""

from __future__ import annotations

import msgspec

from breezeblock.model.invariants.facts import Violation


class Finding(msgspec.Struct, frozen=True):
    """Something that is not as it should be. `subject` is a resource's id, or a backend's name.

    `repairable`: `--repair` puts it right.
    """

    rule: str
    subject: str
    text: str
    remedy: str
    repairable: bool = False


class Diagnosis(msgspec.Struct, frozen=True):
    """What a visit came to. `held` says what each backend that was asked holds, `repaired` what was
    found at first and not at the end any more."""

    findings: tuple[Finding, ...]
    repaired: tuple[Finding, ...] = ()
    held: dict[str, dict[str, int]] = {}

    @property
    def healthy(self) -> bool:
        return not self.findings


REPAIRS = {
    "leftover": "removes it: it is ours, and nobody's data",
    "released": "lets go of it once more: it was unmanaged, or not adopted to the end",
    "export-without-attachment": "shuts that host out",
    "attachment-without-export": "lets that host in again",
    "grown": "has the database take the real size, and charges it",
    "moved": "has the database take the pool where the backend has it",
    "usage": "counts anew",
    "transient-status": "asks the backend and sets the status that is true",
    "dangling-transfer": "withdraws it",
    "overdue": "ends it as failed and tells its owner",
}
"""What `--repair` does about findings of a rule."""

REMEDIES = {
    "orphan": (
        "Nothing here explains it, so it is never removed: find out whose it is (`breezeblock "
        "trace` of its id may know). Only when it is nobody's, remove it with the backend's own "
        "tools."
    ),
    "missing": (
        "Its data is not where it should be. Look at the backend; if it is lost for good, tell the "
        "owner and delete it (os-force_delete)."
    ),
    "size": "It has shrunk behind our back: look at the backend before anybody writes to it.",
    "status-follows-attachments": "Reset its status (os-reset_status): the true one is then set.",
    "shared-without-leave": "Detach all but one of them, before both write to it.",
    "failure-says-why": "A defect of Breezeblock: report it with `breezeblock trace` of that id.",
    "one-at-a-time": "A defect of Breezeblock, or the database lacks its unique index on "
    "operations: report it with `breezeblock trace` of that id.",
    "epoch": "A defect of Breezeblock: report it with `breezeblock trace` of that id.",
    "server-stuck": "Delete the server, or look into the agent's log of its host.",
    "server-volume-stuck": "Detach the volume from the server again, or delete the server.",
    "row-without-attachment": "Detach the volume from the server, and attach it again.",
    "attachment-without-row": "If the server does not use it, delete the attachment.",
}
"""What people can do about those that are left to them."""


def of_violation(one: Violation) -> Finding:
    """A broken rule as a finding."""
    repairable = one.rule in REPAIRS
    if repairable:
        remedy = f"`breezeblock doctor --repair` {REPAIRS[one.rule]}."
    else:
        remedy = REMEDIES.get(one.rule, "See `breezeblock trace` of that id.")
    return Finding(one.rule, one.subject, one.text, remedy, repairable)
