"""Rules of transfers: a project offers a volume, another one takes it over and deletes it perhaps.

All other rules are about the first project, to which a volume is gone that was taken over. What the
other one may have is kept apart (`given`), and no administrator touches it (`away`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition

from tests.crash.histories import answers, giving_answers, ways
from tests.crash.histories.belief import Belief, Disagreement
from tests.crash.histories.client import LIMITS, TROUBLE, Client, lost, which
from tests.crash.histories.tally import step
from tests.crash.histories.ways import ANY, GONE, OFFERED, Volume
from tests.service.catalog_fixture import OTHER


@dataclass(frozen=True)
class Offer:
    """A transfer that was made, with its key."""

    about: Belief[Volume]
    ident: str
    key: str
    alone: bool


class Giving(Client):
    """Rules."""

    def __init__(self) -> None:
        super().__init__()
        self.offers: list[Offer] = []

    @precondition(lambda self: self.volumes)
    @step(number=which, alone=st.booleans(), lose=lost)
    def offer(self, number: int, alone: bool, lose: bool) -> None:
        self.offer_volume(self.volume(number), alone=alone, lose=lose)

    def offer_volume(
        self, about: Belief[Volume], *, alone: bool = False, lose: bool = False
    ) -> Offer | None:
        """`alone`: without its snapshots."""
        free = self.may_go(about, alone=alone)
        body = {"transfer": {"volume_id": about.ident, "no_snapshots": alone}}
        reply = self.ask(
            about,
            lambda one: giving_answers.offer(one, free),
            "POST",
            "/volume-transfers",
            body,
            lose=lose,
        )
        if reply is None or reply.status != 202:
            return None
        made = reply.json["transfer"]
        about.ways = frozenset(
            one._replace(offer=made["id"]) if one.offer == "new" else one for one in about.ways
        )
        self.offers.append(Offer(about, made["id"], made["auth_key"], alone))
        return self.offers[-1]

    def may_go(self, about: Belief[Volume], *, alone: bool) -> Collection[bool]:
        """Whether all its snapshots may go with it; both when that is not known."""
        if alone:
            return (True,)
        may, must_not = True, False
        for child in self.children(about):
            fits = {one.status for one in child.present(self.cloud.clock, self.calm)}
            must_not |= not fits & {"available", GONE, ANY}
            may &= fits <= {"available", GONE}
        if must_not:
            return (False,)
        return (True,) if may and not self.may_have_more(about) else (True, False)

    @precondition(lambda self: self.offers)
    @step(number=which, lose=lost)
    def take_over(self, number: int, lose: bool) -> None:
        offers = self.offers
        self.accept(offers[number % len(offers)], lose=lose)

    def accept(self, offer: Offer, *, lose: bool = False) -> None:
        about, calm = offer.about, self.calm
        free = self.may_go(about, alone=offer.alone)
        before = about.present(self.cloud.clock, calm)
        reply = self.ask(
            about,
            lambda one: giving_answers.accept(one, offer.ident, free, calm=calm),
            "POST",
            f"/volume-transfers/{offer.ident}/accept",
            {"accept": {"auth_key": offer.key}},
            lose=lose,
            project=OTHER,
        )
        if reply is not None and reply.status != 202:
            return
        taken = reply is not None
        if not taken and not any(one.work == "give" for one in about.ways):
            return
        there = {
            one._replace(status=status, offer="", uses=frozenset(), work="")
            for one in before
            for status in (("available",) if one.status != GONE else ())
        }
        gone = {one._replace(status=GONE) for one in before}
        given = Belief(about.ident, about.name, frozenset(there), ways.volume_goes_on)
        if not taken:
            given.ways |= gone
            given.blurred |= about.blurred - {"actions"}
        self.given.append(given)
        self.away.add(about.ident)
        if taken:
            about.ways = frozenset(gone)
        for child in self.children(about) if not offer.alone else ():
            left = frozenset(one._replace(status=GONE) for one in child.ways)
            child.ways = left if taken else child.ways | left
            child.blurred |= given.blurred
            self.away.add(child.ident)

    @precondition(lambda self: self.offers)
    @step(number=which, lose=lost)
    def withdraw(self, number: int, lose: bool) -> None:
        offer = self.offers[number % len(self.offers)]
        self.ask(
            offer.about,
            lambda one: giving_answers.withdraw(one, offer.ident),
            "DELETE",
            f"/volume-transfers/{offer.ident}",
            lose=lose,
        )

    @precondition(lambda self: self.volumes)
    @step(number=which, alone=st.booleans(), lose=lost)
    def hand_over(self, number: int, alone: bool, lose: bool) -> None:
        """Offered and taken over at once."""
        offer = self.offer_volume(self.volume(number), alone=alone)
        if offer is not None:
            self.accept(offer, lose=lose)

    @precondition(lambda self: self.offers)
    @step(of_all=st.booleans())
    def look_at_offers(self, of_all: bool) -> None:
        """What is offered may be awaiting somebody."""
        reply, _ = self.send("GET", f"/volume-transfers{'/detail' if of_all else ''}")
        if reply is None or reply.status in TROUBLE:
            return
        offered = {one["volume_id"] for one in reply.json["transfers"]}
        for about in self.volumes:
            known = {one.status for one in about.present(self.cloud.clock, self.calm)}
            wrong = about.ident in offered and not known & {OFFERED, ANY}
            if wrong or (about.ident not in offered and known == {OFFERED}):
                raise Disagreement(f"offered are {offered}, but {about}")

    @precondition(lambda self: self.given)
    @step(number=which)
    def delete_given(self, number: int) -> None:
        """By its new owner; snapshots of the old one may be in the way."""
        about = self.given[number % len(self.given)]
        self.ask(
            about,
            lambda one: answers.delete(one, (True, False)),
            "DELETE",
            f"/volumes/{about.ident}?cascade=true",
            project=OTHER,
        )

    def check_given(self) -> None:
        """At the end the other project has what it took over, and is counted to use just that."""
        found = {
            kind: self.send("GET", f"/{kind}/detail", project=OTHER)[0].json[kind]
            for kind in ("volumes", "snapshots")
        }
        there = {one["id"]: one for one in found["volumes"]}
        for about in self.given:
            known = about.present(self.cloud.clock, self.calm)
            shown = there.pop(about.ident, {"status": GONE, "size": 0})
            if not any(_fits(one, shown) for one in known):
                raise Disagreement(f"the other project has {shown}, which may not be: {about}")
        if there:
            raise Disagreement(f"the other project has {there}, and nobody gave it that")
        reply, _ = self.send("GET", f"/os-quota-sets/{OTHER}?usage=true", role="admin")
        told = {name: reply.json["quota_set"][name]["in_use"] for name in LIMITS}
        sizes: list[Any] = [one["size"] for kind in found.values() for one in kind]
        counts = {kind: len(some) for kind, some in found.items()}
        if told != {**counts, "gigabytes": sum(sizes)}:
            raise Disagreement(f"the other project uses {told}, and has {counts} of {sizes} GiB")


def _fits(one: Volume, shown: dict[str, Any]) -> bool:
    if one.status == ANY or GONE in (one.status, shown["status"]):
        return one.status in (ANY, shown["status"])
    return (one.status, one.size) == (shown["status"], shown["size"])
