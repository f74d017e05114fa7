"""What can go wrong, in the product's terms.

Every error that may reach a client derives from `BreezeblockError`; the web layer knows which HTTP
status each becomes, nobody else does. Work that fails later, inside an operation, ends in a
`Failure`: it is stored on the operation and told to the user.

    BreezeblockError
    ├── InvalidInput        the request breaks a rule of the wire format
    ├── InvalidState        the resource's status does not allow the call
    ├── NotFound            no such resource, or not one of the caller's project
    ├── Forbidden           the policy says no
    ├── Conflict            somebody else was first, or a name is taken
    │   └── UnderWay        other work on the same resource has to end first
    ├── OverQuota           the project's quota does not allow it
    ├── Unavailable         an engine that we need (database, broker, backend) is away: try again
    └── OperationFailed     an operation that the caller waited for ended in a Failure
"""

from __future__ import annotations

import re
from dataclasses import dataclass


def shortened(text: str, most: int = 100) -> str:
    """The text, or its beginning with an ellipsis: what others wrote may be of any length."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


class BreezeblockError(Exception):
    """Something the client is told about. The text is the message he reads."""


class InvalidInput(BreezeblockError):
    """The request breaks a rule of the wire format; the message names the field."""


class InvalidState(BreezeblockError):
    """The resource's status does not allow the call."""


class NotFound(BreezeblockError):
    """No such resource, or none that the caller may see."""

    def __init__(self, kind: str, ident: str) -> None:
        super().__init__(f"{kind} {ident} could not be found.")
        self.kind = kind
        self.ident = ident


class Forbidden(BreezeblockError):
    """The policy refuses the call; the message names the rule."""


class Conflict(BreezeblockError):
    """Another call was first, or the name is taken."""


class UnderWay(Conflict):
    """Other work on the same resource has to end first."""


class OverQuota(BreezeblockError):
    """The project's quota does not allow it.

    The message begins with the `kind` of limit, a word of the interface, where the wire has it;
    `reason` is the message without.
    """

    def __init__(self, reason: str, kind: str = "") -> None:
        super().__init__(f"{kind}: {reason}" if kind else reason)
        self.reason = reason


class Unavailable(BreezeblockError):
    """The database, the broker or a backend is away; the same request may succeed later."""


_PATH = re.compile(r"(?<![\w:/])/[\w./@#+-]+")


def without_paths(text: str) -> str:
    """A text for users: the operator's files are not named."""
    return _PATH.sub("…", text)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an operation failed: told to the user, stored on the operation.

    `cause` and `remedy` are whole sentences for humans, `retryable` says whether the same request
    may succeed later unchanged. A `private` cause is in a backend's own words and may name the
    operator's files: users are told it without them.
    """

    code: str
    message: str
    cause: str = ""
    remedy: str = ""
    retryable: bool = False
    private: bool = False

    @property
    def text(self) -> str:
        """What a user is told, as one text of sentences."""
        cause = without_paths(self.cause) if self.private else self.cause
        told = (self.message, cause, self.remedy)
        parts = [part.strip() for part in told if part.strip()]
        return " ".join(part if part[-1] in ".!?:" else f"{part}." for part in parts)


CUT_SHORT = "cancelled"
"""The code of operations that an administrator has ended."""


class OperationFailed(BreezeblockError):
    """An operation that the caller waited for ended badly."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure
