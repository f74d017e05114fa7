"""What the two services that the suites ask have in common: started, waited for, stopped."""

from __future__ import annotations

import json
import signal
import sys
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from typing import ClassVar, Self

from tests.conformance.people import PEOPLE


class Running(ABC):
    """A service in a scratch directory. `root` is its base URL."""

    name: ClassVar[str]
    patience: ClassVar[float]
    """Seconds within which it must be ready."""
    root: str

    @abstractmethod
    def start(self) -> None:
        """Return when requests are served to their end."""

    @abstractmethod
    def stop(self) -> None:
        """End all processes and remove the scratch directory."""

    @abstractmethod
    def put(self, table: str, ident: str, field: str, value: str) -> None:
        """Change a row behind the service's back."""

    @abstractmethod
    def logs(self) -> str:
        """The end of what it has logged."""

    @abstractmethod
    def ended(self) -> list[str]:
        """Those of its processes that run no more."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_until_ready(self) -> None:
        """Return when the scheduler knows the backend's pool."""
        deadline = time.monotonic() + self.patience
        request = urllib.request.Request(
            f"{self.root}/v3/scheduler-stats/get_pools",
            headers={"Authorization": PEOPLE["admin"].authorization},
        )
        while True:
            try:
                with urllib.request.urlopen(request, timeout=10) as reply:
                    if json.load(reply)["pools"]:
                        return
            except (OSError, urllib.error.URLError):
                pass
            if (ended := self.ended()) or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} is not ready (ended: {ended}):\n{self.logs()}")
            time.sleep(0.1)


def run_until_interrupted(service: Running, *said: str) -> None:
    """Start it, say this, and stop it when somebody wants that."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # A shell starts background jobs deaf to the first.
        signal.signal(number, signal.default_int_handler)
    began = time.monotonic()
    with service:
        took = time.monotonic() - began
        print(f"{service.name} serves at {service.root}/v3 after {took:.0f} s.", *said, sep="\n")
        sys.stdout.flush()
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("Stopped.")
