"""What tests do to the simulator itself: /simulator/..., outside the array's own interface.

GET, POST, DELETE /simulator/faults     what goes wrong next (DELETE /simulator/faults/UUID: one)
GET, DELETE       /simulator/log        who asked what
GET, PATCH        /simulator/settings   job_seconds, move_seconds
POST              /simulator/late       let late requests go
POST              /simulator/takeover   {"node": "sim-01"}: its partner serves for it; and
                  /simulator/giveback   back again
POST              /simulator/reset      the array as new
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.faults import Fault, Faults
from breezeblock.ontapsim.log import Log
from breezeblock.ontapsim.model import Aggregate, Lif, Node

PREFIX = "simulator"
Answer = tuple[int, Any]


class ControlError(Exception):
    """A request that makes no sense; the text says why."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    job_seconds: Annotated[float, Meta(ge=0)] | None = None
    move_seconds: Annotated[float, Meta(ge=0)] | None = None


class Takeover(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    node: str


class Controls:
    def __init__(self, array: Array, faults: Faults, log: Log, let_go: Callable[[], int]) -> None:
        self._array = array
        self._faults = faults
        self._log = log
        self._let_go = let_go

    def answer(self, method: str, parts: tuple[str, ...], raw: bytes) -> Answer:
        try:
            return self._answer(method, parts, raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ControlError) as error:
            return 400, {"error": str(error)}

    def _answer(self, method: str, parts: tuple[str, ...], raw: bytes) -> Answer:
        match (method, *parts):
            case ("GET", "faults"):
                return 200, {"faults": self._faults.listing()}
            case ("POST", "faults"):
                name = self._faults.add(msgspec.json.decode(raw, type=Fault))
                return 201, {"uuid": name}
            case ("DELETE", "faults"):
                self._faults.clear()
                return 200, {}
            case ("DELETE", "faults", name):
                return (200 if self._faults.remove(name) else 404), {}
            case ("GET", "log"):
                return 200, {"requests": msgspec.to_builtins(self._log.entries())}
            case ("DELETE", "log"):
                self._log.clear()
                return 200, {}
            case ("GET", "settings"):
                return 200, self._settings()
            case ("PATCH", "settings"):
                self._set(msgspec.json.decode(raw, type=Settings))
                return 200, self._settings()
            case ("POST", "late"):
                return 200, {"let_go": self._let_go()}
            case ("POST", "takeover"):
                self._take_over(msgspec.json.decode(raw, type=Takeover).node)
                return 200, {}
            case ("POST", "giveback"):
                self._give_back()
                return 200, {}
            case ("POST", "reset"):
                self._faults.clear()
                self._array.reset()
                return 200, {}
        return 404, {"error": "no such control"}

    def _settings(self) -> dict[str, float]:
        with self._array.lock:
            cluster = self._array.cluster
            return {"job_seconds": cluster.job_seconds, "move_seconds": cluster.move_seconds}

    def _set(self, settings: Settings) -> None:
        given = {k: v for k, v in msgspec.structs.asdict(settings).items() if v is not None}
        with self._array.lock, self._array.changing():
            self._array.state.put(replace(self._array.cluster, **given))

    def _take_over(self, name: str) -> None:
        """The node is down; another one has its aggregates. SAN LIFs do not move, they are down."""
        state = self._array.state
        with self._array.lock, self._array.changing():
            nodes = state.all(Node)
            down = next((node for node in nodes if node.name == name), None)
            partner = next((node for node in nodes if node.name != name and node.up), None)
            if down is None or partner is None:
                raise ControlError(f"no node {name!r} with a partner that is up")
            state.put(replace(down, up=False))
            for aggregate in state.all(Aggregate):
                if aggregate.node == down.uuid:
                    state.put(replace(aggregate, node=partner.uuid))
            for lif in state.all(Lif):
                if lif.node == down.uuid and "data_iscsi" not in lif.services:
                    state.put(replace(lif, node=partner.uuid))

    def _give_back(self) -> None:
        state = self._array.state
        with self._array.lock, self._array.changing():
            for node in state.all(Node):
                state.put(replace(node, up=True))
            for aggregate in state.all(Aggregate):
                state.put(replace(aggregate, node=aggregate.home))
            for lif in state.all(Lif):
                state.put(replace(lif, node=lif.home))
