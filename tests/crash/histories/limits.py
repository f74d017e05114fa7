"""Rules of what is refused: calls that cannot be, and quota."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.crash.histories.belief import Disagreement
from tests.crash.histories.client import NOBODY, TROUBLE, Client, which
from tests.crash.histories.tally import step
from tests.service.catalog_fixture import OTHER, PROJECT

WRONG: tuple[tuple[str, str, Any, int], ...] = (
    *(
        ("POST", "/volumes", {"volume": wish}, code)
        for wish, code in (
            ({"size": 0}, 400),
            ({"size": "many"}, 400),
            ({}, 400),
            ({"size": 1, "volume_type": "unheard-of"}, 404),
            ({"size": 1, "snapshot_id": NOBODY}, 404),
            ({"size": 1, "source_volid": NOBODY}, 404),
            ({"size": 1, "availability_zone": "elsewhere"}, 400),
            ({"size": 1, "multiattach": True}, 400),
            ({"size": 1, "imageRef": NOBODY}, 400),
        )
    ),
    ("GET", "/volumes/{}", None, 404),
    ("DELETE", "/volumes/{}", None, 404),
    ("DELETE", "/volumes/{}?cascade=true", None, 404),
    ("POST", "/volumes/{}/action", {"os-extend": {"new_size": 9}}, 404),
    ("POST", "/volumes/{}/action", {"os-reserve": {}}, 404),
    ("POST", "/volumes/{}/action", {"os-detach": {}}, 404),
    ("POST", "/volumes/{}/action", {"revert": {"snapshot_id": NOBODY}}, 404),
    ("POST", "/volumes/{}/action", {"os-reimage": {"image_id": NOBODY}}, 404),
    ("POST", "/volumes/{}/action", {"os-volume_upload_image": {"image_name": "it"}}, 404),
    ("POST", "/volume-transfers/{}/accept", {"accept": {"auth_key": "it"}}, 404),
    ("DELETE", "/volume-transfers/{}", None, 404),
    ("DELETE", "/snapshots/{}", None, 404),
    ("DELETE", "/attachments/{}", None, 404),
)
"""Calls that are refused whatever the state: method, path, body, status."""


class Limits(Client):
    """Rules."""

    @step(number=which, stranger=st.booleans(), call=st.sampled_from(WRONG))
    def ask_what_cannot_be(
        self, number: int, stranger: bool, call: tuple[str, str, Any, int]
    ) -> None:
        """`stranger`: on a volume of another project; else on one that nobody has."""
        ident = self.volume(number).ident if stranger and self.volumes else NOBODY
        ident = NOBODY if ident in self.away else ident
        method, path, body, code = call
        project = OTHER if stranger else PROJECT
        self.refused(method, path.format(ident), body, code=code, project=project)

    def refused(self, method: str, path: str, body: Any, *, code: int, **how: Any) -> None:
        reply, _ = self.send(method, path, body, **how)
        if reply is not None and reply.status not in (code, *TROUBLE):
            raise Disagreement(f"{reply.status} instead of {code} for {method} {path} {body}")

    @step(
        name=st.sampled_from(("volumes", "gigabytes", "snapshots")),
        limit=st.sampled_from((-1, 0, 2, 3, 5, 10, 1000)),
    )
    def limit(self, name: str, limit: int) -> None:
        path, body = f"/os-quota-sets/{PROJECT}", {"quota_set": {name: limit}}
        reply, asked = self.send("PUT", path, body, role="admin")
        if reply is None or reply.status in TROUBLE:
            self.limits[name] |= {limit}
            if asked in self.cloud.weather.asleep:
                self.late_limits.append((asked, name, limit))
            return
        refused = self.over(limits={name: {limit}}, **{name: 0})
        allowed = {400 if one else 200 for one in refused}
        if reply.status not in allowed:
            raise Disagreement(f"{reply.status} instead of {allowed} for {name} = {limit}")
        if reply.status == 200:
            asleep = self.cloud.weather.asleep
            late = {it for who, what, it in self.late_limits if what == name and who in asleep}
            self.limits[name] = {limit} | late
