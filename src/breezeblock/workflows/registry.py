"""All workflows of the block storage service."""

from __future__ import annotations

from breezeblock.operations.workflow import Registry
from breezeblock.workflows import (
    adopt_snapshot,
    adopt_volume,
    apply_type,
    attach_volume,
    check_snapshot,
    check_volume,
    create_snapshot,
    create_volume,
    delete_snapshot,
    delete_volume,
    detach_volume,
    discard_image,
    extend_volume,
    hold_volume,
    list_manageable,
    migrate_volume,
    reimage_volume,
    retype_volume,
    revert_volume,
    sweep_backend,
    unmanage_snapshot,
    unmanage_volume,
    upload_volume,
)

REGISTRY = Registry(
    (
        create_volume.WORKFLOW,
        delete_volume.WORKFLOW,
        extend_volume.WORKFLOW,
        revert_volume.WORKFLOW,
        reimage_volume.WORKFLOW,
        retype_volume.WORKFLOW,
        migrate_volume.WORKFLOW,
        apply_type.WORKFLOW,
        create_snapshot.WORKFLOW,
        delete_snapshot.WORKFLOW,
        attach_volume.WORKFLOW,
        detach_volume.WORKFLOW,
        hold_volume.WORKFLOW,
        check_volume.WORKFLOW,
        check_snapshot.WORKFLOW,
        upload_volume.WORKFLOW,
        discard_image.WORKFLOW,
        adopt_volume.WORKFLOW,
        adopt_snapshot.WORKFLOW,
        list_manageable.WORKFLOW,
        unmanage_volume.WORKFLOW,
        unmanage_snapshot.WORKFLOW,
        sweep_backend.WORKFLOW,
    )
)
