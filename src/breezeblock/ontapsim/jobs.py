"""Asynchronous work: a request that was accepted, and is done when its time has come.

With no delay it is done at once and its job is a finished one; an error then is the answer. With a
delay the job runs the very request later, and an error is the job's.
"""

from __future__ import annotations

from uuid import uuid4

from msgspec.structs import replace

from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.body import Document
from breezeblock.ontapsim.clock import timestamp
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.model import Job, Request

KEPT = 300.0
"""Seconds for which a finished job can be asked about."""
OPEN = ("queued", "running", "paused")


def new(
    array: Array,
    request: Request,
    *,
    due: float | None = None,
    location: str | None = None,
    failure: ApiError | None = None,
) -> Job:
    """A job: done already, or to be done when it is due."""
    now = array.now()
    job = Job(
        uuid=str(uuid4()),
        name=f"{request.method} /api{request.path}",
        state="success" if due is None else "running",
        started=timestamp(),
        due=now if due is None else due,
        ended=now if due is None else None,
        ended_at=timestamp() if due is None else "",
        svm=request.svm,
        request=None if due is None else request,
        location=location,
        failure=(failure.code, failure.message) if failure else None,
    )
    array.state.put(job)
    return job


def end(array: Array, job: Job, error: ApiError | None, location: str | None = None) -> None:
    ended = replace(job, ended=array.now(), ended_at=timestamp(), request=None, location=location)
    if error is None:
        ended = replace(ended, state="success")
    else:
        code = int(error.code) if error.code.isdecimal() else 1
        ended = replace(ended, state="failure", code=code, message=error.message)
    array.state.put(ended)


def cancel(array: Array, job: Job) -> None:
    if job.state not in OPEN:
        raise ApiError(409, "3342479", "The job has ended already.", "action")
    end(array, job, ApiError(409, "65537", "The job was cancelled."))


def due(array: Array, now: float) -> list[Job]:
    return [job for job in array.state.all(Job) if job.request and job.due <= now]


def pending(array: Array) -> list[float]:
    return [job.due for job in array.state.all(Job) if job.request]


def forget(array: Array, now: float) -> None:
    """Drop jobs that ended long ago."""
    for job in array.state.all(Job):
        if job.ended is not None and job.ended < now - KEPT:
            array.state.drop(job)


def visible(array: Array, svm: str | None) -> list[Job]:
    jobs = [job for job in array.state.all(Job) if not job.lost]
    return [job for job in jobs if svm is None or job.svm in (None, svm)]


def document(job: Job) -> Document:
    failed = job.state == "failure"
    return {
        "uuid": job.uuid,
        "description": job.name,
        "state": job.state,
        "start_time": job.started,
        "message": job.message if job.ended else "",
        "code": job.code,
        **({"end_time": job.ended_at} if job.ended else {}),
        **({"error": {"code": str(job.code), "message": job.message}} if failed else {}),
    }


def accepted(uuid: str) -> Document:
    return {"job": {"uuid": uuid, "_links": {"self": {"href": f"/api/cluster/jobs/{uuid}"}}}}
