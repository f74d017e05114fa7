"""Why an export was not made; drivers turn these into their own errors."""

from __future__ import annotations


class ExportError(Exception):
    """An export failed. `remedy` tells a human what would help."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class ExportBusy(ExportError):
    """The same call may succeed later."""


class ExportRefused(ExportError):
    """The same call will not succeed."""
