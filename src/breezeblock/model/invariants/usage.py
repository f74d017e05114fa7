"""Usage equals the rows that it counts (design, law 7)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from breezeblock.model.invariants.facts import Facts, Violation
from breezeblock.model.usage import of_snapshot, of_type, of_volume


def counted(facts: Facts) -> Counter[tuple[str, str]]:
    """(project id, resource) → what the rows use; a growth under way is charged already, and so is
    the new type of a volume that is about to get one."""
    used: Counter[tuple[str, str]] = Counter()
    for volume in facts.volumes.values():
        size = volume.size + _growth(facts, volume.id, volume.size)
        name = facts.type_names[volume.volume_type_id]
        moved = of_volume(size, name, consumes=volume.consumes_quota)
        used.update({(volume.project_id, key): amount for key, amount in moved.items()})
    for snapshot in facts.snapshots.values():
        name = facts.type_names.get(snapshot.volume_type_id, "")
        moved = of_snapshot(snapshot.size, name, consumes=snapshot.consumes_quota)
        used.update({(snapshot.project_id, key): amount for key, amount in moved.items()})
    for volume_id in facts.volumes:
        for project, moved in _held(facts, volume_id):
            used.update({(project, key): amount for key, amount in moved.items()})
    return used


def _held(facts: Facts, volume_id: str) -> Iterator[tuple[str, dict[str, int]]]:
    for one in facts.open_on.get(volume_id, ()):
        for project, kinds in one.data.get("held", {}).items():
            yield project, of_type(kinds, facts.type_names[one.data["new_type_id"]])


def _growth(facts: Facts, volume_id: str, size: int) -> int:
    for one in facts.open_on.get(volume_id, ()):
        if one.data.get("old_size") == size:
            return int(one.data["new_size"]) - size
    return 0


def usage_equals_the_rows(facts: Facts) -> Iterator[Violation]:
    """What a project is counted to use is what its volumes and snapshots use."""
    used = counted(facts)
    for key in sorted(used.keys() | facts.usages.keys()):
        present, expected = facts.usages.get(key, 0), used[key]
        if present != expected:
            project, resource = key
            yield Violation(
                "usage",
                project,
                f"Project {project} is counted to use {present} {resource}, "
                f"its volumes and snapshots use {expected}.",
            )
