"""Rules of volumes: making, cloning, deleting, extending them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition

from tests.crash.asgi import Reply
from tests.crash.histories import answers, ways
from tests.crash.histories.belief import Belief
from tests.crash.histories.client import TROUBLE, Client, Lost, lost, which
from tests.crash.histories.tally import step
from tests.crash.histories.ways import ANY, GONE, Volume

statuses = st.sampled_from(
    ("available", "error", "in-use", "creating", "extending", "detaching", "maintenance")
)


class Volumes(Client):
    """Rules."""

    @precondition(lambda self: len(self.volumes) < 6)
    @step(size=st.integers(1, 3), shared=st.booleans(), lose=lost, key=st.booleans())
    def create(self, size: int, shared: bool, lose: bool, key: bool) -> None:
        more = {"volume_type": "shared"} if shared else {}
        self.create_volume({"size": size, **more}, size, lose, key, shared=shared)

    @precondition(lambda self: self.volumes)
    @step(number=which, size=st.none() | st.integers(1, 4), lose=lost, key=st.booleans())
    def clone(self, number: int, size: int | None, lose: bool, key: bool) -> None:
        source = self.volume(number)
        most = size or max((one.most for one in source.ways), default=0)
        wish = {"source_volid": source.ident, **({"size": size} if size else {})}
        shared = any(one.shared for one in source.ways)
        step = partial(answers.source, size=size)
        self.create_volume(wish, most, lose, key, shared=shared, source=source, step=step)

    @precondition(lambda self: self.snapshots)
    @step(number=which, lose=lost, key=st.booleans())
    def restore(self, number: int, lose: bool, key: bool) -> None:
        source = self.snapshot(number)
        most = max(one.size for one in source.ways)
        parent = self.parents[source.ident]
        shared = any(one.shared for one in parent.ways)
        wish = {"snapshot_id": source.ident}
        self.create_volume(
            wish, most, lose, key, shared=shared, source=source, step=answers.restored
        )

    def create_volume(
        self,
        wish: dict[str, Any],
        most: int,
        lose: bool,
        key: bool,
        *,
        shared: bool,
        source: Belief[Any] | None = None,
        step: Any = None,
        target: str = "",
    ) -> None:
        name = f"volume-{next(self.numbers)}"
        body = {"volume": {**wish, "name": name}}
        about = source or Belief("", "", frozenset({Volume("available", 0)}), _never)
        step = step or (lambda one: [(202, one)])
        limited = partial(self.over, volumes=1, gigabytes=most)
        named = name if key else None
        reply, asked = self.send("POST", "/volumes", body, key=named)
        sent = Lost("volume", name, body, named, most, asked)
        if lose or reply is None or reply.status in TROUBLE:
            self.lost.append(sent)
            return
        about.answered(reply.status, self.options(about, step, limited))
        if reply.status == 202:
            made = reply.json["volume"]
            work = "copy" if source else "image" if target else "create"
            way = Volume("creating", made["size"], shared=shared, work=work, target=target)
            self.volumes.append(Belief(made["id"], name, frozenset({way}), ways.volume_goes_on))

    @precondition(lambda self: self.volumes)
    @step(number=which, lose=lost)
    def delete(self, number: int, lose: bool) -> None:
        self.delete_volume(self.volume(number), lose=lose)

    def delete_volume(self, about: Belief[Volume], *, lose: bool = False) -> Reply | None:
        return self.ask(
            about,
            lambda one: answers.delete(one, self.has_children(about)),
            "DELETE",
            f"/volumes/{about.ident}",
            lose=lose,
        )

    @precondition(lambda self: self.volumes)
    @precondition(lambda self: not self.peaceful)
    @step(number=which)
    def force_delete(self, number: int) -> None:
        about = self.volume(number)
        self.meddled = True
        self.ask(
            about,
            lambda one: answers.delete(one, self.has_children(about), force=True),
            "POST",
            f"/volumes/{about.ident}/action",
            {"os-force_delete": {}},
            role="admin",
        )

    @precondition(lambda self: self.volumes)
    @step(number=which, force=st.booleans())
    def delete_with_snapshots(self, number: int, force: bool) -> None:
        about = self.volume(number)
        force = force and not self.peaceful
        self.meddled |= force
        flags = "cascade=true&force=true" if force else "cascade=true"

        def blocked() -> Collection[bool]:
            known = [one.present(self.cloud.clock, self.calm) for one in self.children(about)]
            free = ("available", "error", GONE)
            fits = [{one.status in free for one in ways} for ways in known]
            unclear = any(one.status == ANY for ways in known for one in ways)
            if force or all(may == {True} for may in fits):
                return (True, False) if self.may_have_more(about) and not force else (False,)
            surely = any(may == {False} for may in fits) and not unclear
            return (True,) if surely else (True, False)

        reply = self.ask(
            about,
            lambda one: answers.delete(one, blocked(), force=force),
            "DELETE",
            f"/volumes/{about.ident}?{flags}",
            role="admin" if force else "member",
        )
        if reply is None or reply.status == 202:
            for child in self.children(about):
                child.ways = frozenset(
                    one if one.status == GONE else one._replace(status="deleting", work="cascade")
                    for one in child.ways
                ) | (child.ways if reply is None else frozenset())

    @precondition(lambda self: self.volumes)
    @step(number=which, size=st.sampled_from((1, 2, 4, 6)), lose=lost)
    def extend(self, number: int, size: int, lose: bool) -> None:
        self.extend_volume(self.volume(number), size, lose=lose)

    def extend_volume(
        self, about: Belief[Volume], size: int, *, lose: bool = False
    ) -> Reply | None:
        least = min((one.size for one in about.ways), default=0)
        return self.ask(
            about,
            lambda one: answers.extend(one, size),
            "POST",
            f"/volumes/{about.ident}/action",
            {"os-extend": {"new_size": size}},
            lose=lose,
            limited=lambda: (
                {*self.over(gigabytes=max(0, size - least)), *self.over(gigabytes=0)}
                if len({one.size for one in about.ways}) > 1
                else self.over(gigabytes=max(0, size - least))
            ),
        )

    @precondition(lambda self: self.volumes)
    @precondition(lambda self: not self.peaceful)
    @step(number=which, status=statuses, detached=st.booleans())
    def reset(self, number: int, status: str, detached: bool) -> None:
        about = self.volume(number)
        self.meddled = True
        wish = {"status": status, **({"attach_status": "detached"} if detached else {})}
        self.ask(
            about,
            lambda one: answers.reset(one, status, detached=detached),
            "POST",
            f"/volumes/{about.ident}/action",
            {"os-reset_status": wish},
            role="admin",
        )


def _never(_one: Any, _now: float, _calm: bool) -> Iterator[Any]:
    return iter(())
