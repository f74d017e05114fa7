"""Rules of what changes what a volume holds, copies it, or leaves it to its backend."""

from __future__ import annotations

from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition

from tests.crash.asgi import Reply
from tests.crash.histories import content_answers
from tests.crash.histories.belief import Belief, Disagreement
from tests.crash.histories.client import lost, which
from tests.crash.histories.snapshots import Snapshots
from tests.crash.histories.tally import step
from tests.crash.histories.volumes import Volumes
from tests.crash.histories.ways import ANY, GONE, UNKNOWN, Snapshot, Volume
from tests.crash.shelf import IMAGE, staged_at

OF_IMAGE = str(staged_at(IMAGE))
"""What a volume holds that has the image's content."""


class Contents(Volumes, Snapshots):
    """Rules."""

    @precondition(lambda self: self.snapshots)
    @step(number=which, latest=st.sampled_from([True, True, False]), lose=lost)
    def revert(self, number: int, latest: bool, lose: bool) -> None:
        """`latest`: to the latest snapshot of that one's volume; else to that one, and there is a
        later one."""
        snapshot = self.snapshot(number)
        parent = self.parents[snapshot.ident]
        if not latest and self.youngest(parent)[-1] is snapshot:
            self.snap(parent)
        self.revert_to(parent, self.youngest(parent)[-1] if latest else snapshot, lose=lose)

    def youngest(self, parent: Belief[Volume]) -> list[Belief[Snapshot]]:
        """Its snapshots, the latest last."""
        return sorted(self.children(parent), key=lambda one: self.ages[one.ident])

    def revert_to(
        self, about: Belief[Volume], snapshot: Belief[Snapshot], *, lose: bool = False
    ) -> Reply | None:
        latest = self.latest(about)
        begun = {
            one._replace(status="restoring")
            for one in snapshot.ways
            if one.status in ("available", ANY)
        }
        reply = self.ask(
            about,
            lambda one: content_answers.revert(one, latest, snapshot.ident),
            "POST",
            f"/volumes/{about.ident}/action",
            {"revert": {"snapshot_id": snapshot.ident}},
            lose=lose,
        )
        if reply is not None and reply.status == 202 and not snapshot.blurred:
            snapshot.ways = frozenset(begun)
        elif reply is None or reply.status == 202:
            snapshot.ways |= begun
            snapshot.blurred |= about.blurred - {"actions"}
        return reply

    def latest(self, parent: Belief[Volume]) -> content_answers.Candidates:
        """What its latest snapshot may be."""
        found: list[tuple[str, Snapshot | None]] = []
        unheard: list[tuple[str, Snapshot | None]] = [("", None)]
        for child in reversed(self.youngest(parent)):
            ways = child.present(self.cloud.clock, self.calm)
            found += [(child.ident, one) for one in ways if one.status != GONE]
            if not child.may_be_gone:
                return found + (unheard if self.may_have_more(parent) else [])
        return found + unheard

    @precondition(lambda self: len(self.volumes) < 6)
    @step(size=st.integers(1, 2), lose=lost, key=st.booleans())
    def create_from_image(self, size: int, lose: bool, key: bool) -> None:
        self.create_of_image(size, lose, key)

    def create_of_image(self, size: int, lose: bool = False, key: bool = False) -> None:
        wish = {"size": size, "imageRef": IMAGE}
        self.create_volume(wish, size, lose, key, shared=False, target=OF_IMAGE)

    @precondition(lambda self: self.volumes)
    @step(number=which, lose=lost)
    def upload(self, number: int, lose: bool) -> None:
        self.upload_volume(self.volume(number), lose=lose)

    def upload_volume(self, about: Belief[Volume], *, lose: bool = False) -> Reply | None:
        name = f"image-{next(self.numbers)}"
        body: dict[str, Any] = {"os-volume_upload_image": {"image_name": name}}
        path = f"/volumes/{about.ident}/action"
        step = content_answers.upload
        return self.ask(about, step, "POST", path, body, lose=lose, several=True)

    @precondition(lambda self: self.volumes)
    @step(number=which, reserved=st.booleans(), lose=lost)
    def reimage(self, number: int, reserved: bool, lose: bool) -> None:
        self.reimage_volume(self.volume(number), reserved=reserved, lose=lose)

    def reimage_volume(
        self, about: Belief[Volume], *, reserved: bool = False, lose: bool = False
    ) -> Reply | None:
        """`reserved`: also one that is kept for a server, which is told then."""
        step = partial(content_answers.reimage, content=OF_IMAGE, reserved=reserved)
        body = {"os-reimage": {"image_id": IMAGE, "reimage_reserved": reserved}}
        return self.ask(about, step, "POST", f"/volumes/{about.ident}/action", body, lose=lose)

    @precondition(lambda self: self.volumes)
    @step(number=which, lose=lost)
    def unmanage(self, number: int, lose: bool) -> None:
        self.unmanage_volume(self.volume(number), lose=lose)

    def unmanage_volume(self, about: Belief[Volume], *, lose: bool = False) -> Reply | None:
        return self.ask(
            about,
            lambda one: content_answers.unmanage(one, self.has_children(about)),
            "POST",
            f"/volumes/{about.ident}/action",
            {"os-unmanage": {}},
            role="admin",
            lose=lose,
        )

    @precondition(lambda self: self.snapshots)
    @step(number=which, lose=lost)
    def unmanage_snapshot(self, number: int, lose: bool) -> None:
        about = self.snapshot(number)
        step, path = content_answers.unmanage_snapshot, f"/snapshots/{about.ident}/action"
        self.ask(about, step, "POST", path, {"os-unmanage": {}}, role="admin", lose=lose)

    def check_contents(self, excused: set[str]) -> None:
        """Each volume holds what it was given last; not where work was late or broke half-way."""
        for about in self.volumes:
            known = {it for one in about.ways for it in one.contents}
            if about.may_be_gone or about.ident in excused or UNKNOWN in known:
                continue
            held = [
                driver.contents.get(about.ident, "")
                for driver in self.cloud.drivers
                if about.ident in driver.sizes
            ]
            if not set(held) <= known:
                raise Disagreement(f"{about.name} holds {held}, and should hold one of {known}")
