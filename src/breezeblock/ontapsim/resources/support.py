"""What clients tell the array about themselves: /support/ems/application-logs."""

from __future__ import annotations

from breezeblock.ontapsim.rest import Call, Reply, Route

FIELDS = [
    "computer_name",
    "event_source",
    "app_version",
    "category",
    "severity",
    "autosupport_required",
    "event_id",
    "event_description",
]


def _application_log(call: Call) -> Reply:
    """Taken note of: it is in the simulator's log of requests, as all of them are."""
    call.body.only(FIELDS)
    call.body.text("event_description")
    call.body.number("event_id")
    call.body.flag("autosupport_required")
    return Reply(201)


ROUTES = [Route("POST", "/support/ems/application-logs", _application_log)]
