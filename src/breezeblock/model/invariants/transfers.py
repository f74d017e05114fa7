"""An offer of a volume to another project stands as long as the volume awaits it, and no longer."""

from __future__ import annotations

from collections.abc import Iterator

from breezeblock.model.invariants.facts import Facts, Violation
from breezeblock.model.volumes import AWAITING_TRANSFER


def offers_are_of_volumes_that_wait(facts: Facts) -> Iterator[Violation]:
    """Nobody can take over, with an old key, a volume that is no longer on offer."""
    for one in facts.transfers:
        volume = facts.volumes.get(one.volume_id)
        if volume is None:
            what = "is gone"
        elif volume.status != AWAITING_TRANSFER:
            what = f"is {volume.status}"
        elif volume.project_id != one.source_project_id:
            what = f"belongs to project {volume.project_id}, which has not offered it"
        else:
            continue
        yield Violation(
            "dangling-transfer",
            one.id,
            f"Transfer {one.id} offers volume {one.volume_id}, which {what}.",
        )
