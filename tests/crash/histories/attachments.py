"""Rules of attachments, made in one call, in several, or by the older actions on volumes."""

from __future__ import annotations

from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition

from tests.crash.histories import answers
from tests.crash.histories.belief import Belief
from tests.crash.histories.client import Client, lost, unclear, which
from tests.crash.histories.tally import step
from tests.crash.histories.ways import Use, Volume

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


class Attachments(Client):
    """Rules."""

    @precondition(lambda self: self.volumes)
    @step(number=which, server=st.integers(0, 2), connected=st.booleans(), lose=lost)
    def attach(self, number: int, server: int, connected: bool, lose: bool) -> None:
        self.attach_to(self.volume(number), server, connected=connected, lose=lose)

    def attach_to(
        self, about: Belief[Volume], server: int, *, connected: bool, lose: bool = False
    ) -> None:
        wish: dict[str, Any] = {"volume_uuid": about.ident, "instance_uuid": server_of(server)}
        use = Use("new", server_of(server))
        if connected:
            wish["connector"] = {"host": host_of(use.server)}
            step = partial(answers.attach, use=use, host=host_of(use.server))
        else:
            step = partial(answers.reserve, use=use)
        reply = self.ask(
            about, step, "POST", "/attachments", {"attachment": wish}, lose=lose, several=True
        )
        if reply is not None and reply.status == 200:
            ident = reply.json["attachment"]["id"]
            about.ways = frozenset(_named(one, ident) for one in about.ways)
            self.uses.append((about, ident))
        else:
            about.ways = frozenset(unclear(one) if one.use("new") else one for one in about.ways)

    @precondition(lambda self: self.uses)
    @step(number=which, elsewhere=st.sampled_from([False, False, False, True]))
    def connect(self, number: int, elsewhere: bool) -> None:
        about, ident = self.use(number)
        known = [use for one in about.ways if (use := one.use(ident))]
        host = "elsewhere" if elsewhere or not known else host_of(known[0].server)
        if elsewhere and not (known and all(use.host for use in known)):
            return
        self.connect_use(about, ident, host)

    def connect_use(self, about: Belief[Volume], ident: str, host: str) -> None:
        self.ask(
            about,
            lambda one: answers.connect(one, ident, host),
            "PUT",
            f"/attachments/{ident}",
            {"attachment": {"connector": {"host": host}}},
            several=True,
        )

    @precondition(lambda self: self.uses)
    @step(number=which, lose=lost)
    def complete(self, number: int, lose: bool) -> None:
        self.complete_use(*self.use(number), lose=lose)

    def complete_use(self, about: Belief[Volume], ident: str, *, lose: bool = False) -> None:
        self.ask(
            about,
            lambda one: answers.complete(one, ident),
            "POST",
            f"/attachments/{ident}/action",
            {"os-complete": {}},
            lose=lose,
        )

    @precondition(lambda self: self.uses)
    @step(number=which, lose=lost)
    def detach(self, number: int, lose: bool) -> None:
        self.leave(*self.use(number), lose=lose)

    def leave(self, about: Belief[Volume], ident: str, *, lose: bool = False) -> None:
        self.ask(
            about,
            lambda one: answers.leave(one, ident),
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
            lambda one: answers.hold(one, status, now),
        )

    @precondition(lambda self: self.volumes)
    @step(number=which, detaching=st.booleans())
    def let_go(self, number: int, detaching: bool) -> None:
        about = self.volume(number)
        name = "os-roll_detaching" if detaching else "os-unreserve"
        self.action(
            about, name, lambda one: answers.let_go(one, "detaching" if detaching else "attaching")
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
            step = partial(answers.vaguely, codes=codes)
            self.action(about, f"os-{call}", step, bodies.get(call), several=True)

    def action(
        self, about: Belief[Volume], name: str, step: Any, body: Any = None, **how: Any
    ) -> None:
        path = f"/volumes/{about.ident}/action"
        self.ask(about, step, "POST", path, {name: body or {}}, **how)


def server_of(number: int) -> str:
    return f"5e44e400-0000-4000-8000-{number:012d}"


def host_of(server: str) -> str:
    return f"host{server[-1]}"


def _named(one: Volume, ident: str) -> Volume:
    use = one.use("new")
    return one if use is None else one.with_uses(use._replace(id=ident), without=use)
