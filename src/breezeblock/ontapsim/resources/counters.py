"""How busy the nodes are (not at all): /cluster/counter/tables.

A filter on the counters' names also chooses which of a record's counters are shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from breezeblock.ontapsim.body import Document
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.model import Node
from breezeblock.ontapsim.query import accepts
from breezeblock.ontapsim.rest import Call, Resource


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter; with labels it has a value for each. `base` is what it is divided by."""

    name: str
    kind: str
    unit: str
    base: str = ""
    labels: tuple[str, ...] = ()
    grows: bool = False
    """It counts microseconds, whatever happens; others stay 0 on an array that rests."""


PHASES = ("cp_setup", "cp_pre_p0", "cp_p0_snap_del", "cp_p2a_snap", "cp_p2_flush", "cp_p3_finish")
DOMAINS = ("idle", "kahuna", "storage", "exempt", "raid", "target", "network", "protocol")
TABLES = {
    "system:constituent": (
        Counter("average_processor_busy_percent", "percent", "percent", base="cpu_elapsed_time"),
        Counter("cpu_elapsed_time", "delta", "microsec", grows=True),
    ),
    "system": (
        Counter("average_processor_busy_percent", "percent", "percent", base="cpu_elapsed_time"),
        Counter("cpu_elapsed_time", "delta", "microsec", grows=True),
    ),
    "wafl": (
        Counter("total_cp_msecs", "delta", "millisec"),
        Counter("cp_phase_times", "percent", "percent", base="total_cp_msecs", labels=PHASES),
    ),
    "processor": (
        Counter("domain_busy_percent", "percent", "percent", base="elapsed_time", labels=DOMAINS),
        Counter("elapsed_time", "delta", "microsec", grows=True),
    ),
}
PROCESSORS = 2


def _chosen(call: Call, filter_name: str) -> Callable[[str], bool]:
    texts = [text for name, text in call.query.pairs if name == filter_name]
    return lambda name: all(accepts(text, [name]) for text in texts)


def _tables(call: Call) -> list[Document]:
    chosen = _chosen(call, "counter_schemas.name")
    return [
        {
            "name": table,
            "description": f"The {table} counters",
            "counter_schemas": [
                {
                    "name": counter.name,
                    "type": counter.kind,
                    "unit": counter.unit,
                    **({"denominator": {"name": counter.base}} if counter.base else {}),
                }
                for counter in counters
                if chosen(counter.name)
            ],
        }
        for table, counters in TABLES.items()
    ]


def _rows(call: Call) -> list[Document]:
    table = call.params["table"]
    if table not in TABLES:
        raise ApiError(404, "8585320", f'No counter table "{table}".', "name")
    chosen = _chosen(call, "counters.name")
    now = int(call.array.now() * 1_000_000)
    return [
        {
            "id": row,
            "counter_table": {"name": table},
            "counters": [_value(c, now) for c in TABLES[table] if chosen(c.name)],
            "properties": [{"name": "node.name", "value": node.name}],
        }
        for node in call.array.state.all(Node)
        for row in _ids(table, node.name)
    ]


def _ids(table: str, node: str) -> list[str]:
    if table == "processor":
        return [f"{node}:processor{number}" for number in range(PROCESSORS)]
    return [f"{node}:{table.partition(':')[0]}"]


def _value(counter: Counter, now: int) -> Document:
    value = now if counter.grows else 0
    if counter.labels:
        labels = list(counter.labels)
        return {"name": counter.name, "values": [value] * len(labels), "labels": labels}
    return {"name": counter.name, "value": value}


def _missing(name: str) -> ApiError:
    return ApiError(404, "8585320", f'No counter table or row "{name}".', "name")


SCHEMAS = Resource(
    path="/cluster/counter/tables",
    fields="name description counter_schemas",
    identity=("name",),
    keys=("name",),
    options=("counter_schemas.name",),
    records=_tables,
    cluster=True,
    missing=_missing,
)
ROWS = Resource(
    path="/cluster/counter/tables/{table}/rows",
    fields="id counter_table counters properties aggregation",
    identity=("id",),
    keys=("id", "counter_table"),
    records=_rows,
    cluster=True,
    missing=_missing,
)
ROUTES = [*SCHEMAS.routes(), *ROWS.routes()]
