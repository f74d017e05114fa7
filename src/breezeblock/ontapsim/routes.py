"""All routes of the REST API, in one table: a resource is a file in `resources/`."""

from __future__ import annotations

from breezeblock.ontapsim.resources import (
    aggregates,
    cli,
    cluster,
    consistency_groups,
    counters,
    credentials,
    files,
    igroups,
    interfaces,
    iscsi_services,
    lun_attributes,
    lun_data,
    lun_maps,
    luns,
    qos_policies,
    snapshots,
    support,
    svms,
    volumes,
)
from breezeblock.ontapsim.rest import Route

ROUTES: tuple[Route, ...] = (
    *cluster.ROUTES,
    *aggregates.ROUTES,
    *svms.ROUTES,
    *interfaces.ROUTES,
    *volumes.ROUTES,
    *snapshots.ROUTES,
    *files.ROUTES,
    *lun_data.ROUTES,
    *luns.ROUTES,
    *lun_attributes.ROUTES,
    *lun_maps.ROUTES,
    *igroups.ROUTES,
    *iscsi_services.ROUTES,
    *credentials.ROUTES,
    *qos_policies.ROUTES,
    *consistency_groups.ROUTES,
    *counters.ROUTES,
    *support.ROUTES,
    *cli.ROUTES,
)
