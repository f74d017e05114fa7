"""The rules that Hypothesis draws histories from, and what must be true after each and at the end.

Clients know what the API has told them (`model.py`); nothing here looks into the database, but for
the invariants of `model/invariants` and to learn whether the work on an export has come to its end.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any, TypeVar
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from breezeblock.store import operations
from breezeblock.workflows import sweep_backend
from breezeblock.workflows.attach_volume import EXPORT
from tests.crash.asgi import Reply
from tests.crash.histories import model
from tests.crash.histories.cloud import Cloud
from tests.crash.histories.model import ANY, GONE, Belief, Disagreement, Snapshot, Use, Volume
from tests.crash.stage import Actor
from tests.crash.virtual_time import VirtualLoop
from tests.service.catalog_fixture import OTHER, PROJECT

T = TypeVar("T")

LIMITS = {"volumes": 10, "snapshots": 10, "gigabytes": 1000}
"""What a project has by default."""
NOBODY = "00000000-0000-4000-8000-000000000000"
"""An id that nothing has."""
TROUBLE = (500, 503)
"""The work failed, or something was away: whether it was done is not known."""

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
        )
    ),
    ("GET", "/volumes/{}", None, 404),
    ("DELETE", "/volumes/{}", None, 404),
    ("DELETE", "/volumes/{}?cascade=true", None, 404),
    ("POST", "/volumes/{}/action", {"os-extend": {"new_size": 9}}, 404),
    ("POST", "/volumes/{}/action", {"os-reserve": {}}, 404),
    ("POST", "/volumes/{}/action", {"os-detach": {}}, 404),
    ("DELETE", "/snapshots/{}", None, 404),
    ("DELETE", "/attachments/{}", None, 404),
)
"""Calls that are refused whatever the state: method, path, body, status."""

VERBS = (
    "create",
    "delete",
    "extend",
    "snapshot",
    "delete_snapshot",
    "export",
    "unexport",
    "inventory",
)
"""What a driver can fail at."""

BY_ACTIONS = (
    "initialize_connection",
    "reserve initialize_connection",
    "reserve initialize_connection attach",
    "reserve initialize_connection unreserve",
    "reserve initialize_connection terminate_connection",
    "begin_detaching terminate_connection detach",
    "terminate_connection",
    "detach",
)
"""What clients call one after the other, all of it or until they give up."""

MOST = 5
which = st.integers(0, MOST)
lost = st.sampled_from([False, False, False, True])
statuses = st.sampled_from(
    ("available", "error", "in-use", "creating", "extending", "detaching", "maintenance")
)


@dataclass
class Lost:
    """A creation that was not answered: there is none or one of this name."""

    kind: str
    name: str
    body: dict[str, Any]
    key: str | None
    gigabytes: int
    asked: Actor
    parent: Belief[Volume] | None = None


@dataclass
class Tally:
    """What all histories of a run consisted of."""

    rules: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    certain: Counter[bool] = field(default_factory=Counter)
    """Whether the model knew the one answer that a call could be given."""
    examples: int = 0


TALLY = Tally()


def step(**drawn: Any) -> Callable[[Any], Any]:
    """A rule that is counted."""

    def decorate(fn: Any) -> Any:
        @wraps(fn)
        def counted(history: History, **values: Any) -> None:
            TALLY.rules[fn.__name__] += 1
            with history.noticing():
                fn(history, **values)

        return rule(**drawn)(counted)

    return decorate


class History(RuleBasedStateMachine):
    """One history. See the module's text."""

    def __init__(self) -> None:
        super().__init__()
        dice = random.Random(7)
        self._ids = patch.object(
            uuid, "uuid4", lambda: uuid.UUID(int=dice.getrandbits(128), version=4)
        )
        self._ids.start()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.cloud: Cloud = self.runner.run(_made())
        self.numbers = itertools.count(1)
        self.limits = {name: {limit} for name, limit in LIMITS.items()}
        self.late_limits: list[tuple[Actor, str, int]] = []
        self.volumes: list[Belief[Volume]] = []
        self.snapshots: list[Belief[Snapshot]] = []
        self.parents: dict[str, Belief[Volume]] = {}
        self.uses: list[tuple[Belief[Volume], str]] = []
        self.lost: list[Lost] = []
        self.meddled = False
        self.peaceful = False
        self.broken = False
        TALLY.examples += 1

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @contextmanager
    def noticing(self) -> Iterator[None]:
        """Once something was wrong, the end of the history is not looked at any more."""
        try:
            yield
        except BaseException:
            self.broken = True
            raise

    @property
    def calm(self) -> bool:
        """Whether nothing has gone wrong yet: then no work may fail."""
        return not (self.cloud.weather.struck or self.cloud.offline or self.meddled)

    # -- calls ---------------------------------------------------------------------------------

    def send(self, method: str, path: str, body: Any = None, **how: Any) -> tuple[Any, Actor]:
        reply, asked = self.run(self.cloud.send(method, path, body, **how))
        if reply is None and not self.cloud.api.alive:
            self.run(_do(self.cloud.start_api))
        if reply is not None:
            TALLY.answers[reply.status] += 1
            if reply.status in TROUBLE and self.calm:
                raise Disagreement(f"{reply.status} for {method} {path}, and nothing was wrong")
        return reply, asked

    def ask(
        self,
        about: Belief[Any],
        step: Callable[[Any], Iterable[tuple[int, Any]]],
        method: str,
        path: str,
        body: Any = None,
        *,
        lose: bool = False,
        limited: Callable[[], Collection[bool]] = lambda: (False,),
        several: bool = False,
        **how: Any,
    ) -> Reply | None:
        """A call about a resource: its answer must be one of those that `step` allows.

        `lose`: the client does not hear it. `limited`: whether the quota is in the way. `several`:
        the call is more than one transaction, so its traces are many when it is cut short.
        """
        reply, asked = self.send(method, path, body, **how)
        options = self.options(about, step, limited)
        if reply is not None and reply.status not in TROUBLE:
            TALLY.certain[len({code for code, _ in options}) == 1] += 1
            try:
                if lose:
                    about.unanswered(options)
                else:
                    about.answered(reply.status, options)
            except Disagreement as error:
                raise Disagreement(f"{method} {path} {body}: {error} {reply.json}") from None
            return None if lose else reply
        about.unanswered(options)
        if asked in self.cloud.weather.asleep:
            about.blurred.add(asked)
        if several or about.blurred:
            about.ways |= {_unclear(one) for one in about.ways if one.status != GONE}
        return None

    def options(
        self, about: Belief[Any], step: Any, limited: Callable[[], Collection[bool]]
    ) -> list[tuple[int, Any]]:
        over = limited()
        return [
            (413, one) if blocked and code == 202 else (code, then)
            for one in about.present(self.cloud.clock, self.calm)
            for code, then in step(one)
            for blocked in over
        ]

    def over(
        self, *, limits: Mapping[str, set[int]] | None = None, **asked: int
    ) -> Collection[bool]:
        """Whether the quota does not allow so many more; both when that is not known."""
        for belief in (*self.volumes, *self.snapshots):
            belief.present(self.cloud.clock, self.calm)
        unsure = {
            "volumes": sum(one.kind == "volume" for one in self.lost),
            "snapshots": sum(one.kind == "snapshot" for one in self.lost),
            "gigabytes": sum(one.gigabytes for one in self.lost),
        }
        bounds = {
            "volumes": model.counted(self.volumes),
            "snapshots": model.counted(self.snapshots),
            "gigabytes": tuple(
                map(sum, zip(model.used(self.volumes), model.used(self.snapshots), strict=True))
            ),
        }
        surely = maybe = False
        for name, more in asked.items():
            fewest, most = bounds[name]
            possible = (limits or self.limits)[name]
            surely |= all(0 <= limit < fewest + more for limit in possible)
            maybe |= any(0 <= limit < most + unsure[name] + more for limit in possible)
        return (True,) if surely else (True, False) if maybe else (False,)

    def volume(self, number: int) -> Belief[Volume]:
        return _one_of(self.volumes, [one for one in self.volumes if one.may_be_there], number)

    def snapshot(self, number: int) -> Belief[Snapshot]:
        there = [one for one in self.snapshots if one.may_be_there]
        return _one_of(self.snapshots, there, number)

    def use(self, number: int) -> tuple[Belief[Volume], str]:
        there = [
            (about, ident)
            for about, ident in self.uses
            if any(one.status == ANY or one.use(ident) for one in about.ways)
        ]
        return _one_of(self.uses, there, number)

    def children(self, parent: Belief[Volume]) -> list[Belief[Snapshot]]:
        return [one for one in self.snapshots if self.parents[one.ident] is parent]

    def has_children(self, parent: Belief[Volume]) -> Collection[bool]:
        known = self.children(parent)
        for one in known:
            one.present(self.cloud.clock, self.calm)
        if any(not one.may_be_gone for one in known):
            return (True,)
        maybe = any(one.may_be_there for one in known) or self.may_have_more(parent)
        return (True, False) if maybe else (False,)

    def may_have_more(self, parent: Belief[Volume]) -> bool:
        return any(one.parent is parent for one in self.lost)

    # -- volumes -------------------------------------------------------------------------------

    @initialize(
        sizes=st.lists(st.integers(1, 3), min_size=1, max_size=3),
        shared=st.booleans(),
        frozen=st.booleans(),
        attached=st.sampled_from(("not", "reserved", "connected", "complete")),
        peaceful=st.sampled_from((False, False, False, True)),
    )
    def begin(
        self, sizes: list[int], shared: bool, frozen: bool, attached: str, peaceful: bool
    ) -> None:
        """Some volumes, the first with a snapshot and an attachment, perhaps.

        In peaceful histories nothing goes wrong, so that the model knows more.
        """
        self.peaceful = peaceful
        with self.noticing():
            for number, size in enumerate(sizes):
                more = {"volume_type": "shared"} if shared and number == 0 else {}
                self.create_volume(
                    {"size": size, **more}, size, False, False, shared=shared and number == 0
                )
                self.look_at(self.volumes[-1])
            if frozen:
                self.snap(0, lose=False, key=False)
            if attached != "not":
                self.attach_to(0, 0, connected=attached != "reserved", lose=False)
            if attached == "complete":
                self.complete_use(0, lose=False)

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
        step = partial(model.source, size=size)
        self.create_volume(wish, most, lose, key, shared=shared, source=source, step=step)

    @precondition(lambda self: self.snapshots)
    @step(number=which, lose=lost, key=st.booleans())
    def restore(self, number: int, lose: bool, key: bool) -> None:
        source = self.snapshot(number)
        most = max(one.size for one in source.ways)
        parent = self.parents[source.ident]
        shared = any(one.shared for one in parent.ways)
        wish = {"snapshot_id": source.ident}
        self.create_volume(wish, most, lose, key, shared=shared, source=source, step=model.restored)

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
    ) -> None:
        name = f"volume-{next(self.numbers)}"
        body = {"volume": {**wish, "name": name}}
        about = source or Belief("", "", frozenset({Volume("available", 0)}), _still)
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
            work = "copy" if source else "create"
            way = Volume("creating", made["size"], shared=shared, work=work)
            self.volumes.append(Belief(made["id"], name, frozenset({way}), model.volume_goes_on))

    @precondition(lambda self: self.volumes)
    @step(number=which, lose=lost)
    def delete(self, number: int, lose: bool) -> None:
        about = self.volume(number)
        self.ask(
            about,
            lambda one: model.delete(one, self.has_children(about)),
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
            lambda one: model.delete(one, self.has_children(about), force=True),
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
            lambda one: model.delete(one, blocked(), force=force),
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
        about = self.volume(number)
        least = min((one.size for one in about.ways), default=0)
        self.ask(
            about,
            lambda one: model.extend(one, size),
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
            lambda one: model.reset(one, status, detached=detached),
            "POST",
            f"/volumes/{about.ident}/action",
            {"os-reset_status": wish},
            role="admin",
        )

    # -- snapshots -----------------------------------------------------------------------------

    @precondition(lambda self: self.volumes)
    @step(number=which, lose=lost, key=st.booleans())
    def take_snapshot(self, number: int, lose: bool, key: bool) -> None:
        self.snap(number, lose=lose, key=key)

    def snap(self, number: int, *, lose: bool, key: bool) -> None:
        parent = self.volume(number)
        name = f"snapshot-{next(self.numbers)}"
        most = max((one.most for one in parent.ways), default=0)
        body = {"snapshot": {"volume_id": parent.ident, "name": name}}
        named = name if key else None
        reply, asked = self.send("POST", "/snapshots", body, key=named)
        if lose or reply is None or reply.status in TROUBLE:
            self.lost.append(Lost("snapshot", name, body, named, most, asked, parent))
            return
        limited = partial(self.over, snapshots=1, gigabytes=most)
        parent.answered(reply.status, self.options(parent, model.source, limited))
        if reply.status == 202:
            made = reply.json["snapshot"]
            self.add_snapshot(
                made["id"], name, Snapshot("creating", made["size"], "create"), parent
            )

    def add_snapshot(self, ident: str, name: str, way: Snapshot, parent: Belief[Volume]) -> None:
        self.snapshots.append(Belief(ident, name, frozenset({way}), model.snapshot_goes_on))
        self.parents[ident] = parent

    @precondition(lambda self: self.snapshots)
    @step(number=which, lose=lost, force=st.sampled_from([False, False, True]))
    def delete_snapshot(self, number: int, lose: bool, force: bool) -> None:
        about = self.snapshot(number)
        force = force and not self.peaceful
        self.meddled |= force
        path = f"/snapshots/{about.ident}"
        step = partial(model.drop, force=force)
        if force:
            forced = {"os-force_delete": {}}
            self.ask(about, step, "POST", f"{path}/action", forced, lose=lose, role="admin")
        else:
            self.ask(about, step, "DELETE", path, lose=lose)

    @precondition(lambda self: self.snapshots)
    @precondition(lambda self: not self.peaceful)
    @step(number=which, status=st.sampled_from(("available", "error", "creating", "deleting")))
    def reset_snapshot(self, number: int, status: str) -> None:
        about = self.snapshot(number)
        self.meddled = True
        self.ask(
            about,
            lambda one: model.reset_snapshot(one, status),
            "POST",
            f"/snapshots/{about.ident}/action",
            {"os-reset_status": {"status": status}},
            role="admin",
        )

    # -- attachments ---------------------------------------------------------------------------

    @precondition(lambda self: self.volumes)
    @step(number=which, server=st.integers(0, 2), connected=st.booleans(), lose=lost)
    def attach(self, number: int, server: int, connected: bool, lose: bool) -> None:
        self.attach_to(number, server, connected=connected, lose=lose)

    def attach_to(self, number: int, server: int, *, connected: bool, lose: bool) -> None:
        about = self.volume(number)
        wish: dict[str, Any] = {"volume_uuid": about.ident, "instance_uuid": _server(server)}
        use = Use("new", _server(server))
        if connected:
            wish["connector"] = {"host": _host(use.server)}
            step = partial(model.attach, use=use, host=_host(use.server))
        else:
            step = partial(model.reserve, use=use)
        reply = self.ask(
            about, step, "POST", "/attachments", {"attachment": wish}, lose=lose, several=True
        )
        if reply is not None and reply.status == 200:
            ident = reply.json["attachment"]["id"]
            about.ways = frozenset(_named(one, ident) for one in about.ways)
            self.uses.append((about, ident))
        else:
            about.ways = frozenset(_unclear(one) if one.use("new") else one for one in about.ways)

    @precondition(lambda self: self.uses)
    @step(number=which, elsewhere=st.sampled_from([False, False, False, True]))
    def connect(self, number: int, elsewhere: bool) -> None:
        about, ident = self.use(number)
        known = [use for one in about.ways if (use := one.use(ident))]
        host = "elsewhere" if elsewhere or not known else _host(known[0].server)
        if elsewhere and not (known and all(use.host for use in known)):
            return
        self.ask(
            about,
            lambda one: model.connect(one, ident, host),
            "PUT",
            f"/attachments/{ident}",
            {"attachment": {"connector": {"host": host}}},
            several=True,
        )

    @precondition(lambda self: self.uses)
    @step(number=which, lose=lost)
    def complete(self, number: int, lose: bool) -> None:
        self.complete_use(number, lose=lose)

    def complete_use(self, number: int, *, lose: bool) -> None:
        about, ident = self.use(number)
        self.ask(
            about,
            lambda one: model.complete(one, ident),
            "POST",
            f"/attachments/{ident}/action",
            {"os-complete": {}},
            lose=lose,
        )

    @precondition(lambda self: self.uses)
    @step(number=which, lose=lost)
    def detach(self, number: int, lose: bool) -> None:
        about, ident = self.use(number)
        self.ask(
            about,
            lambda one: model.leave(one, ident),
            "DELETE",
            f"/attachments/{ident}",
            lose=lose,
            several=True,
        )

    @precondition(lambda self: self.volumes)
    @step(number=which, detaching=st.booleans())
    def hold(self, number: int, detaching: bool) -> None:
        about, now = self.volume(number), self.cloud.clock
        status = "detaching" if detaching else "attaching"
        self.action(
            about,
            "os-begin_detaching" if detaching else "os-reserve",
            lambda one: model.hold(one, status, now),
        )

    @precondition(lambda self: self.volumes)
    @step(number=which, detaching=st.booleans())
    def let_go(self, number: int, detaching: bool) -> None:
        about = self.volume(number)
        name = "os-roll_detaching" if detaching else "os-unreserve"
        self.action(
            about, name, lambda one: model.let_go(one, "detaching" if detaching else "attaching")
        )

    @precondition(lambda self: self.volumes)
    @step(
        number=which,
        host=st.sampled_from(("metal1", "metal2")),
        calls=st.sampled_from(BY_ACTIONS),
    )
    def use_by_actions(self, number: int, host: str, calls: str) -> None:
        """The older way to attach, as far as a client comes with it."""
        about = self.volume(number)
        bodies: dict[str, Any] = {
            "initialize_connection": {"connector": {"host": host}},
            "terminate_connection": {"connector": {"host": host}},
            "attach": {"mountpoint": "/dev/vdb", "host_name": host},
        }
        about.blurred.add("actions")
        codes = (200, 202, 400, 409)
        for call in calls.split():
            step = partial(model.vaguely, codes=codes)
            self.action(about, f"os-{call}", step, bodies.get(call), several=True)

    def action(
        self, about: Belief[Volume], name: str, step: Any, body: Any = None, **how: Any
    ) -> None:
        path = f"/volumes/{about.ident}/action"
        self.ask(about, step, "POST", path, {name: body or {}}, **how)

    # -- what is not allowed, whatever the state -------------------------------------------------

    @step(number=which, stranger=st.booleans(), call=st.sampled_from(WRONG))
    def ask_what_cannot_be(
        self, number: int, stranger: bool, call: tuple[str, str, Any, int]
    ) -> None:
        """`stranger`: on a volume of another project; else on one that nobody has."""
        ident = self.volume(number).ident if stranger and self.volumes else NOBODY
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

    # -- looking -------------------------------------------------------------------------------

    @precondition(lambda self: self.volumes)
    @step(number=which)
    def look(self, number: int) -> None:
        self.look_at(self.volume(number))

    def look_at(self, about: Belief[Volume]) -> None:
        reply, _ = self.send("GET", f"/volumes/{about.ident}")
        listed, _ = self.send("GET", f"/attachments/detail?volume_id={about.ident}")
        if any(one is None or one.status in TROUBLE for one in (reply, listed)):
            return
        ways = about.present(self.cloud.clock, self.calm)
        if reply.status == 404:
            about.shown([one for one in ways if one.status == GONE], "404")
            return
        shown, present = reply.json["volume"], listed.json["attachments"]
        if not present and shown["status"] == "available":
            about.blurred.discard("actions")
        exact = [one for one in ways if _matches(one, shown, present)]
        unclear = [
            one._replace(size=shown["size"])
            for one in ways
            if one.status == ANY and shown["size"] in {one.size, *one.grown}
        ]
        if about.blurred or self.is_connecting(about.ident):
            found = [*exact, *unclear]
        else:
            found = [*exact, *(new for one in unclear for new in _adopted(one, shown, present))]
        what = f"{shown['status']}, {shown['size']} GiB, {[one['status'] for one in present]}"
        about.shown(found, what)
        self.uses += [(about, one["id"]) for one in present if (about, one["id"]) not in self.uses]

    def is_connecting(self, volume_id: str) -> bool:
        """Whether work on one of its exports is under way, which its owner cannot see."""
        open_work = self.cloud.read(lambda tx: operations.open_touching(tx, volume_id))
        return any(one.resource_type == EXPORT for one in open_work)

    @precondition(lambda self: self.snapshots)
    @step(number=which)
    def look_at_a_snapshot(self, number: int) -> None:
        self.look_at_snapshot(self.snapshot(number))

    def look_at_snapshot(self, about: Belief[Snapshot]) -> None:
        reply, _ = self.send("GET", f"/snapshots/{about.ident}")
        if reply is None or reply.status in TROUBLE:
            return
        ways = about.present(self.cloud.clock, self.calm)
        status = GONE if reply.status == 404 else reply.json["snapshot"]["status"]
        found = [one for one in ways if one.status == status]
        for one in ways:
            if one.status == ANY and status != GONE:
                work = {"creating": ("create",), "deleting": ("delete", "cascade")}
                works = {"", one.work, *work.get(status, ())}
                known = [one._replace(status=status, work=it) for it in works]
                found += [one] if about.blurred else known
        about.shown(found, status)

    @precondition(lambda self: self.lost)
    @step(number=which)
    def send_again(self, number: int) -> None:
        """With its key a request that was not answered is made once, however often it is sent."""
        one = self.lost[number % len(self.lost)]
        if one.key is None:
            return
        reply, asked = self.send("POST", f"/{one.kind}s", one.body, key=one.key)
        if reply is None or reply.status in TROUBLE:
            one.asked = asked if asked in self.cloud.weather.asleep else one.asked
        elif reply.status == 202:
            self.found(one, reply.json[one.kind])
        elif reply.status not in (400, 404, 409, 413):
            raise Disagreement(f"{reply.status} for the repeated {one.body}")

    @precondition(lambda self: self.lost)
    @step(number=which)
    def find_lost(self, number: int) -> None:
        self.find(self.lost[number % len(self.lost)])

    def find(self, one: Lost) -> None:
        reply, _ = self.send("GET", f"/{one.kind}s/detail?name={one.name}")
        if reply is None or reply.status in TROUBLE:
            return
        found = reply.json[f"{one.kind}s"]
        if len(found) > 1:
            raise Disagreement(f"{len(found)} are called {one.name}")
        if found:
            self.found(one, found[0])
        elif one.asked not in self.cloud.weather.asleep:
            self.lost.remove(one)

    def found(self, one: Lost, made: dict[str, Any]) -> None:
        self.lost.remove(one)
        ident, size = made["id"], made["size"]
        if one.kind == "volume":
            shared = made.get("multiattach", False)
            way = Volume(ANY, size, shared=shared, checked=True)
            self.volumes.append(Belief(ident, one.name, frozenset({way}), model.volume_goes_on))
        else:
            assert one.parent is not None
            gone = Snapshot(GONE, size)
            self.add_snapshot(ident, one.name, Snapshot(ANY, size, "", True), one.parent)
            self.snapshots[-1].ways |= {gone}  # with its volume, perhaps

    # -- faults --------------------------------------------------------------------------------

    @precondition(lambda self: not self.peaceful)
    @step(
        name=st.sampled_from(("dies", "sleeps")),
        who=st.sampled_from(("worker", "worker", "api")),
        wait=st.integers(0, 12),
    )
    def freeze(self, name: str, who: str, wait: int) -> None:
        self.cloud.weather.forecast(name, who, wait=wait // 2 if who == "api" else wait)

    @precondition(lambda self: not self.peaceful)
    @step(
        name=st.sampled_from(
            (
                "message: lost",
                "message: doubled",
                "message: broker away",
                "database: away",
                "database: answer lost",
            )
        ),
        wait=st.integers(0, 6),
        times=st.integers(1, 4),
    )
    def disturb(self, name: str, wait: int, times: int) -> None:
        self.cloud.weather.forecast(name, wait=wait, times=times)

    @precondition(lambda self: not self.peaceful)
    @step(
        name=st.sampled_from(
            (
                "driver: not now",
                "driver: refuses",
                "driver: bug",
                "driver: answer lost",
                "driver: acts and breaks",
                "driver: twice",
            )
        ),
        verb=st.sampled_from(VERBS),
        times=st.integers(1, 4),
    )
    def fail(self, name: str, verb: str, times: int) -> None:
        self.cloud.weather.forecast(name, "worker", f".{verb}", times=times)

    @precondition(lambda self: not self.peaceful)
    @step(number=st.integers(0, 5))
    def backend_offline(self, number: int) -> None:
        """It answers nothing and its service does not report; or it is back (more often)."""
        if number > 1 and not self.cloud.offline:
            return
        name = self.cloud.backend(number)
        if name in self.cloud.offline:
            self.cloud.offline.remove(name)
            self.cloud.report()
        else:
            self.cloud.offline.add(name)
            self.cloud.weather.struck["backend offline"] += 1

    @precondition(lambda self: self.cloud.weather.asleep)
    @step(number=which)
    def wake_up(self, number: int) -> None:
        sleepers = self.cloud.weather.asleep
        one = sleepers.pop(number % len(sleepers))
        self.run(self.cloud.wake(one))
        for belief in (*self.volumes, *self.snapshots):
            belief.blurred.discard(one)

    @precondition(lambda self: len(self.cloud.workers) < 3)
    @step()
    def hire(self) -> None:
        self.run(_do(self.cloud.hire))

    @step(seconds=st.sampled_from((1, 5, 25, 70, 700, 4000)))
    def time_passes(self, seconds: int) -> None:
        self.run(self.cloud.live(seconds))

    @step(inventory=st.booleans(), number=st.integers(0, 1))
    def sweep(self, inventory: bool, number: int) -> None:
        """What a scheduler does now and then, or a volume service."""
        if inventory:
            backend = self.cloud.backend(number)
            self.cloud.write(partial(sweep_backend.request, backend=backend))
            self.run(self.cloud.look_for_work())
        else:
            self.run(self.cloud.sweep())

    # -- what must be true ---------------------------------------------------------------------

    @invariant()
    def nothing_is_wrong(self) -> None:
        with self.noticing():
            if self.cloud.escaped:
                raise self.cloud.escaped[0]
            self.check(self.cloud.violations(quiet=False, inventories=self.calm))

    def check(self, wrong: Collection[Any]) -> None:
        if wrong:
            raise AssertionError("\n".join(map(str, wrong)) + "\n" + self.cloud.trails())

    def teardown(self) -> None:
        try:
            if not self.broken:
                self.end()
        finally:
            TALLY.faults.update(self.cloud.weather.struck)
            self.runner.run(self.cloud.close())
            self.runner.close()
            self._ids.stop()

    def end(self) -> None:
        """All faults are over: it becomes quiet, and is as clients were told."""
        for belief in (*self.volumes, *self.snapshots):
            belief.blurred -= set(self.cloud.weather.asleep)
        self.run(self.cloud.end())
        self.check(self.cloud.violations())
        for one in list(self.lost):
            self.find(one)
        for volume in self.volumes:
            self.look_at(volume)
        for snapshot in self.snapshots:
            self.look_at_snapshot(snapshot)
        self.check_list("volume", self.volumes)
        self.check_list("snapshot", self.snapshots)
        self.check_usage()

    def check_list(self, kind: str, known: Iterable[Belief[Any]]) -> None:
        """There is what the clients know of, and nothing else."""
        reply, _ = self.send("GET", f"/{kind}s")
        names = sorted(one["name"] for one in reply.json[f"{kind}s"])
        expected = sorted(one.name for one in known if not one.may_be_gone)
        if names != expected:
            raise Disagreement(f"the {kind}s are {names}, but should be {expected}")

    def check_usage(self) -> None:
        reply, _ = self.send("GET", f"/os-quota-sets/{PROJECT}?usage=true", role="admin")
        told = {name: reply.json["quota_set"][name]["in_use"] for name in LIMITS}
        there = [
            max(one.size for one in belief.ways)
            for belief in (*self.volumes, *self.snapshots)
            if not belief.may_be_gone
        ]
        expected = {
            "volumes": sum(not one.may_be_gone for one in self.volumes),
            "snapshots": sum(not one.may_be_gone for one in self.snapshots),
            "gigabytes": sum(there),
        }
        if told != expected:
            raise Disagreement(f"the usage is {told}, but should be {expected}")


# -- small helpers -------------------------------------------------------------------------------


def _one_of(all_of_them: list[T], there: list[T], number: int) -> T:
    """Mostly one of those that may be there; clients name others, too."""
    chosen = there if there and number < MOST else all_of_them
    return chosen[number % len(chosen)]


async def _made() -> Cloud:
    return Cloud()


async def _do(fn: Callable[[], T]) -> T:
    return fn()


def _still(_one: Any, _now: float, _calm: bool) -> Iterable[Any]:
    return iter(())


def _server(number: int) -> str:
    return f"5e44e400-0000-4000-8000-{number:012d}"


def _host(server: str) -> str:
    return f"host{server[-1]}"


def _unclear(one: Any) -> Any:
    """The same resource, about whose status nothing is known any more."""
    if isinstance(one, Snapshot):
        return one._replace(status=ANY, checked=True)
    return one._replace(status=ANY, uses=frozenset(), checked=True)


def _named(one: Volume, ident: str) -> Volume:
    use = one.use("new")
    return one if use is None else one.with_uses(use._replace(id=ident), without=use)


def _matches(one: Volume, shown: dict[str, Any], present: list[dict[str, Any]]) -> bool:
    uses = {(use.id, use.status) for use in one.uses}
    return (one.status, one.size, uses) == (
        shown["status"],
        shown["size"],
        {(use["id"], use["status"]) for use in present},
    )


def _adopted(one: Volume, shown: dict[str, Any], present: list[dict[str, Any]]) -> Iterable[Volume]:
    """What a volume of which little was known may be, now that it was looked at."""
    status, size = shown["status"], shown["size"]
    works = {"creating": ("create", "copy"), "deleting": ("delete",), "extending": ("extend",)}
    uses = [
        [
            Use(use["id"], use["instance"], use["status"], host, bool(use["connection_info"]))
            for host in (_host(use["instance"]), "")
            if host or not use["connection_info"]
        ]
        for use in present
    ]
    for work in ("", *works.get(status, ("hold",))):
        for goal in one.grown if work == "extend" else (0,):
            for chosen in itertools.product(*uses):
                yield one._replace(
                    status=status, size=size, uses=frozenset(chosen), work=work, goal=goal
                )
