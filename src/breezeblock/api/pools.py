"""The pools that the scheduler would consider now, with what they report of themselves.

A pool whose service is down, disabled or frozen is not listed. With `volume_type` (3.35) the pools
pass through the configured filters as for a volume of that type without a size.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from breezeblock.api.application import ApiCall
from breezeblock.api.resource_filters import FILTERS
from breezeblock.model.errors import InvalidInput, shortened
from breezeblock.scheduler.filters import Filter
from breezeblock.scheduler.pools import Pool
from breezeblock.scheduler.ranking import rank
from breezeblock.scheduler.registry import load_filters
from breezeblock.scheduler.request import Request
from breezeblock.scheduler.values import boolean, number
from breezeblock.store import services, volume_types
from breezeblock.store.store import ReadTx
from breezeblock.web.query import RESERVED, parse_bool
from breezeblock.web.routes import Route
from breezeblock.web.types import timestamp
from breezeblock.workflows.pool_view import PoolView

NO_FILTERS = RESERVED | {"detail", "with_count"}


async def get_pools(call: ApiCall) -> dict[str, list[dict[str, Any]]]:
    detail = parse_bool("detail", call.query.get("detail", "false"))
    wanted = _wanted(call)
    type_name = wanted.pop("volume_type", None)

    def read(tx: ReadTx) -> tuple[dict[str, float], Request]:
        reported = {report.name: report.reported_at for report in services.all_pools(tx)}
        specs = volume_types.resolve(tx, type_name).extra_specs if type_name else {}
        return reported, Request(extra_specs=specs)

    reported, request = await call.app.store.read(read)
    view = PoolView(call.app.store, down_time=call.app.config.service_down_time)
    pools = {pool.name: pool for pool in await view.pools()}
    filters = _filters(call.app.config.scheduler.filters) if type_name else ()
    fit = [pools[one.pool] for one in rank(pools.values(), request, filters, ()).candidates]
    return {
        "pools": [
            _detailed(pool, reported.get(pool.name)) if detail else {"name": pool.name}
            for pool in fit
            if all(_matches(pool, name, value) for name, value in wanted.items())
        ]
    }


def _wanted(call: ApiCall) -> dict[str, str]:
    """The filters of this version: none, any capability, from 3.31 those of the table."""
    if not call.at_least(3, 28):
        return {}
    given = {name: value for name, value in call.query.items() if name not in NO_FILTERS}
    if not call.at_least(3, 35):
        given.pop("volume_type", None)
    unknown = sorted(set(given).difference(FILTERS["pool"])) if call.at_least(3, 31) else []
    if unknown:
        names = shortened(", ".join(unknown), 1000)
        raise InvalidInput(f"Invalid filters {names} are found in query.")
    return given


@lru_cache(maxsize=8)
def _filters(names: tuple[str, ...]) -> tuple[Filter, ...]:
    return load_filters(names)


def _matches(pool: Pool, name: str, value: str) -> bool:
    """Whether a capability has the value, read as what the capability is."""
    have = pool.name if name == "name" else pool.capabilities.get(name)
    if isinstance(have, bool):
        return boolean(value) is have
    if isinstance(have, int | float):
        return number(value) == have
    if isinstance(have, list | tuple):
        return value in have
    return have is not None and str(have) == value


def _detailed(pool: Pool, reported_at: float | None) -> dict[str, Any]:
    capabilities: Mapping[str, Any] = pool.capabilities
    protocol = capabilities.get("storage_protocol")
    if isinstance(protocol, list | tuple) and protocol:
        capabilities = {**capabilities, "storage_protocol": protocol[0]}
    moment = datetime.fromtimestamp(reported_at or 0.0, UTC).replace(tzinfo=None)
    return {"name": pool.name, "capabilities": {**capabilities, "timestamp": timestamp(moment)}}


ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/scheduler-stats/get_pools",
        get_pools,
        query=("detail", "name", "volume_type"),
        policy="scheduler_extension:scheduler_stats:get_pools",
        summary="List the pools that the scheduler would consider now",
        tags=("pools",),
    ),
)
