"""A LUN's bytes without a host: GET and PATCH of /storage/luns/{uuid} as multipart/form-data."""

from __future__ import annotations

import os

from breezeblock.ontapsim import errors, forms
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.model import Lun
from breezeblock.ontapsim.rest import Call, Reply, Route

OFFSET, SIZE = "data.offset", "data.size"


def _lun(call: Call) -> Lun:
    for name, _ in call.query.pairs:
        if name not in (OFFSET, SIZE):
            raise errors.unexpected(name)
    if call.query.get(OFFSET) is None:
        raise errors.required(OFFSET)
    lun = call.array.state.find(Lun, call.params["uuid"])
    if lun is None or not call.sees(lun.svm):
        raise errors.no_such_lun(call.params["uuid"], "uuid")
    return lun


def _read(call: Call) -> Reply:
    lun = _lun(call)
    if call.query.get(SIZE) is None:
        raise errors.required(SIZE)
    start = call.query.number(OFFSET, 0, 0, lun.size)
    size = call.query.number(SIZE, 0, 1, forms.MOST)
    with call.array.layout.lun(lun).open("rb") as file:
        return Reply(body=forms.write(os.pread(file.fileno(), size, start)))


def _write(call: Call) -> Reply:
    lun = _lun(call)
    data = call.form.data or b""
    start = call.query.number(OFFSET, 0, 0, lun.size)
    if start + len(data) > lun.size:
        raise ApiError(400, "5374933", "That is beyond the LUN's end.", OFFSET)
    with call.array.layout.lun(lun).open("r+b") as file:
        os.pwrite(file.fileno(), data, start)
    return Reply()


ROUTES = [
    Route("GET", "/storage/luns/{uuid}", _read, form=True),
    Route("PATCH", "/storage/luns/{uuid}", _write, form=True),
]
