"""What the steps that choose a pool have in common: how a volume is put to the filters, and how
their verdict is kept on the operation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from breezeblock.model.volumes import Volume
from breezeblock.scheduler.ranking import Ranking

REFUSALS_KEPT = 200


def names_of(volume: Volume) -> dict[str, Any]:
    """What filter functions call `volume.*`."""
    return {
        "id": volume.id,
        "size": volume.size,
        "display_name": volume.name,
        "display_description": volume.description,
        "volume_metadata": volume.metadata,
        "volume_type_id": volume.volume_type_id,
        "project_id": volume.project_id,
        "multiattach": volume.multiattach,
    }


def record_of(ranking: Ranking, candidates: int) -> dict[str, Any]:
    """The ranking as it is kept on the operation; in a large cloud not every refusal is."""
    kept = replace(
        ranking,
        candidates=ranking.candidates[:candidates],
        refusals=ranking.refusals[:REFUSALS_KEPT],
    )
    record: dict[str, Any] = msgspec.to_builtins(kept)
    return record | {"refused": ranking.refused}
