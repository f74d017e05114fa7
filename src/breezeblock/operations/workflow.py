"""What a workflow is: a short list of steps, and what settles when it fails.

A step is an async function of a `Run`. It reads what it needs, makes its effects through the doors
(store for reading, driver, host, clock), and returns an *outcome*. It never writes a status itself:
the outcome carries a function that does, and the engine runs it in the one transaction that also
records the progress and checks the epoch (design, laws 2, 3 and 5). A step may run again after a
crash, or late beside its successor: its effects must bear that.

Two kinds of steps need fewer transactions than that. One that begins by reading (`Looking`) reads
in the transaction that takes the work. One whose effects are all on the database (`Deciding`) is
taken, made and recorded in a single transaction, and nobody ever sees a lease on it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from breezeblock.model.errors import Failure
from breezeblock.model.operation import Operation
from breezeblock.store import operations
from breezeblock.store.store import ReadTx, WriteTx

D = TypeVar("D")

Settle = Callable[[WriteTx], None]


def nothing(_tx: WriteTx) -> None:
    """Settle nothing besides the progress itself."""


@dataclass(frozen=True, slots=True)
class Next:
    """The step is done; the following one runs on `queue`, with `data` replaced if given."""

    queue: str
    data: Any = None
    settle: Settle = nothing
    note: str = ""


@dataclass(frozen=True, slots=True)
class Again:
    """The same step runs once more, on another queue or after some seconds.

    `progress` is percent, for work that goes on meanwhile and tells how far it is.
    """

    after: float = 0.0
    queue: str | None = None
    data: Any = None
    settle: Settle = nothing
    note: str = ""
    progress: int | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The operation has succeeded; `result` is for whoever waits."""

    result: Any = None
    settle: Settle = nothing
    note: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """The operation ends badly; the workflow's `settle_failure` says what becomes of the status."""

    failure: Failure
    data: Any = None
    note: str = ""


Outcome = Next | Again | Done | Failed


@dataclass(frozen=True, slots=True)
class Run(Generic[D]):
    """What a step gets: the operation, its data in the workflow's own type, and the doors."""

    operation: Operation
    data: D
    doors: Any

    async def report(self, percent: int) -> None:
        """Show how far a long step is. Raises Fenced when somebody else has the work: then stop."""
        await self.doors.store.write(lambda tx: operations.report(tx, self.operation, percent))


Act = Callable[[Run[Any]], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Looking:
    """A step that begins by reading: `act` is given what `look` has found.

    Between the two the work may have been taken over, as between any two effects of a step.
    """

    look: Callable[[ReadTx, Run[Any]], Any]
    act: Callable[[Run[Any], Any], Awaitable[Outcome]]

    @property
    def __name__(self) -> str:
        return self.act.__name__


@dataclass(frozen=True, slots=True)
class Deciding:
    """A step that only reads the database and makes up its mind, on a thread of the store's.

    It may be run several times before its outcome is recorded once.
    """

    decide: Callable[[ReadTx, Run[Any]], Outcome]

    @property
    def __name__(self) -> str:
        return self.decide.__name__


Step = Act | Looking | Deciding


@dataclass(frozen=True)
class Workflow:
    """A workflow as the engine sees it.

    `data` is the msgspec Struct that the operation's data is read into; `settle_failure` is run in
    the transaction that ends the operation badly, after a `Failed`, an unexpected error, or the
    deadline. `tries` bounds how often one step is repeated after temporary errors. `stranded` says
    where work goes whose service is down for long (None: it waits for it).
    """

    name: str
    resource_type: str
    data: type[Any]
    steps: tuple[Step, ...]
    settle_failure: Callable[[WriteTx, Operation, Any, Failure], None]
    tries: int = 8
    stranded: Callable[[Run[Any]], Outcome | None] | None = None
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(step.__name__ for step in self.steps))

    def step(self, name: str) -> Step:
        return self.steps[self.names.index(name)]

    def after(self, name: str) -> str:
        """Name of the step that follows."""
        return self.names[self.names.index(name) + 1]


class Registry:
    """The workflows of a deployment, by name."""

    def __init__(self, workflows: tuple[Workflow, ...]) -> None:
        self._by_name = {workflow.name: workflow for workflow in workflows}
        self.names = tuple(self._by_name)

    def __getitem__(self, name: str) -> Workflow:
        return self._by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def knows(self, name: str, step: str) -> bool:
        """Whether there is such a step: a newer release may have others."""
        return name in self._by_name and step in self._by_name[name].names

    def __iter__(self) -> Any:
        return iter(self._by_name.values())
