"""All workflows of the block storage service."""

from __future__ import annotations

from breezeblock.operations.workflow import Registry
from breezeblock.workflows import (
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
    reimage_volume,
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
        create_snapshot.WORKFLOW,
        delete_snapshot.WORKFLOW,
        attach_volume.WORKFLOW,
        detach_volume.WORKFLOW,
        hold_volume.WORKFLOW,
        check_volume.WORKFLOW,
        check_snapshot.WORKFLOW,
        upload_volume.WORKFLOW,
        discard_image.WORKFLOW,
        unmanage_volume.WORKFLOW,
        unmanage_snapshot.WORKFLOW,
        sweep_backend.WORKFLOW,
    )
)
