"""At most one server has a volume that is not shared."""

from __future__ import annotations

from collections.abc import Iterator

from breezeblock.model.invariants.facts import Facts, Violation


def one_server_unless_shared(facts: Facts) -> Iterator[Violation]:
    """Several attachments of a volume that is not shared belong to one server.

    One server may have two while it moves to another host. Without a server to name, only one may
    be complete; those of the volume actions may connect a second host meanwhile, for the same end.
    """
    for volume_id, present in facts.attachments_of.items():
        volume = facts.volumes.get(volume_id)
        if volume is None or volume.multiattach:
            continue
        servers = {one.instance_uuid for one in present if one.instance_uuid}
        nameless = [
            one
            for one in present
            if not one.instance_uuid and not one.legacy and one.connection_info is not None
        ]
        if len(servers) + len(nameless) > 1:
            yield Violation(
                "shared-without-leave",
                volume_id,
                f"Volume {volume_id} is not shared, but {len(servers) + len(nameless)} servers or "
                "hosts are attached to it.",
            )
