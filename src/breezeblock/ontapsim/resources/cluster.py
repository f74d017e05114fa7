"""The cluster, its nodes and its jobs: /cluster."""

from __future__ import annotations

from breezeblock.ontapsim import errors
from breezeblock.ontapsim.body import Document
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.jobs import cancel, document, visible
from breezeblock.ontapsim.model import Job, Node
from breezeblock.ontapsim.query import project
from breezeblock.ontapsim.rest import Call, Reply, Resource, Route


def _cluster(call: Call) -> Reply:
    cluster = call.array.cluster
    generation, major, minor = (int(part) for part in cluster.version.split("."))
    whole: Document = {
        "name": cluster.name,
        "uuid": cluster.uuid,
        "version": {
            "full": f"NetApp Release {cluster.version}: Simulator",
            "generation": generation,
            "major": major,
            "minor": minor,
        },
        "san_optimized": False,
        "disaggregated": False,
    }
    fields = call.query.fields()
    body = project(whole, [*fields, "_links"], ()) if fields else whole
    return Reply(body=body | {"_links": {"self": {"href": "/api/cluster"}}})


def _nodes(call: Call) -> list[Document]:
    return [
        {
            "uuid": node.uuid,
            "name": node.name,
            "model": node.model,
            "serial_number": node.serial,
            "state": "up" if node.up else "down",
            "is_all_flash_optimized": node.all_flash,
            "is_all_flash_select_optimized": False,
            "version": {"full": f"NetApp Release {call.array.cluster.version}: Simulator"},
        }
        for node in call.array.state.all(Node)
    ]


def _jobs(call: Call) -> list[Document]:
    return [document(job) for job in visible(call.array, call.svm_uuid)]


def _change_job(call: Call, found: Document) -> None:
    action = call.query.get("action") or call.body.text("action")
    if action != "cancel":
        raise errors.invalid("action", action)
    cancel(call.array, call.array.state.get(Job, found["uuid"]))


NODES = Resource(
    path="/cluster/nodes",
    fields=(
        "uuid name model serial_number state is_all_flash_optimized version"
        " is_all_flash_select_optimized ha"
    ),
    records=_nodes,
    cluster=True,
)
JOBS = Resource(
    path="/cluster/jobs",
    fields="uuid description state start_time end_time message code error svm action node",
    keys=("uuid",),
    options=("action",),
    records=_jobs,
    modify=_change_job,
    missing=lambda uuid: ApiError(404, "4", f"entry doesn't exist: job {uuid}", "uuid"),
)
ROUTES = [Route("GET", "/cluster", _cluster), *NODES.routes(), *JOBS.routes()]
