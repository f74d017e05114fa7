"""All workflows of the compute service."""

from __future__ import annotations

from breezeblock.compute.workflows import (
    attach_server_volume,
    check_server,
    create_server,
    delete_server,
    detach_server_volume,
    extend_server_volume,
    reboot_server,
    start_server,
    stop_server,
)
from breezeblock.operations.workflow import Registry

REGISTRY = Registry(
    (
        create_server.WORKFLOW,
        delete_server.WORKFLOW,
        start_server.WORKFLOW,
        stop_server.WORKFLOW,
        reboot_server.WORKFLOW,
        attach_server_volume.WORKFLOW,
        detach_server_volume.WORKFLOW,
        extend_server_volume.WORKFLOW,
        check_server.WORKFLOW,
    )
)
