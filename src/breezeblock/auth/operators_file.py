"""A file that an operator may change while the service runs: the users, the policy.

Whoever asks for what it says also has it looked at, once a second at most. What cannot be
understood does not count: what was read before stays, and the log says why.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

T = TypeVar("T")
Signature = tuple[int, int, int, int]

log = structlog.get_logger()

LOOK_EVERY = 1.0
LARGEST = 16 * 1024 * 1024


class OperatorsFile(Generic[T]):
    """What `understand` makes of a file's text, as the file is now.

    Raises OSError and ValueError when it cannot be read the first time; `understand` raises
    ValueError with a line that tells nothing secret. Of its other errors only the kind is told.
    """

    def __init__(
        self, path: Path, understand: Callable[[str], T], look_every: float = LOOK_EVERY
    ) -> None:
        self.path = path
        self._understand = understand
        self._look_every = look_every
        self._seen: Signature | None = None
        self._looked = time.monotonic()
        self._present: T = self._read(self._signature())

    def present(self) -> T:
        """What the file says. Another object each time that it has changed, the same otherwise."""
        now = time.monotonic()
        if now - self._looked >= self._look_every:
            self._looked = now
            self._look()
        return self._present

    def _look(self) -> None:
        try:
            signature = self._signature()
        except OSError as error:
            if self._seen is not None:
                self._seen = None
                log.error("file cannot be read, what it said stays", error=_cause(error))
            return
        if signature == self._seen:
            return
        try:
            self._present = self._read(signature)
        except (OSError, ValueError) as error:
            self._seen = signature
            log.error("file cannot be understood, what it said stays", error=_cause(error))
        else:
            log.info("file read again", path=str(self.path))

    def _signature(self) -> Signature:
        """What tells one state of the file from another, also when it is replaced by another."""
        found = self.path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def _read(self, signature: Signature) -> T:
        if signature[1] > LARGEST:
            raise ValueError(f"{self.path}: it is larger than {LARGEST} bytes")
        try:
            present = self._understood(self.path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            raise ValueError(f"{self.path}: it is not UTF-8 text") from None
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None
        self._seen = signature
        return present

    def _understood(self, text: str) -> T:
        """What the text means. Whatever is in it, the only error is ValueError."""
        try:
            return self._understand(text)
        except ValueError:
            raise
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        except Exception as error:
            raise ValueError(f"it cannot be understood ({type(error).__name__})") from error


def _cause(error: Exception) -> str:
    """The error in a line; a path is part of it."""
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    return str(error)
