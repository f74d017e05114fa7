"""The data half as a whole: makes tgtd and the front serve what was published, and keeps it so."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from breezeblock.ontapsim.data_plane import Svm, Unit
from breezeblock.ontapsim.iscsi.front import Front, View
from breezeblock.ontapsim.iscsi.tgt import StillInUseError, Tgt, TgtError

log = logging.getLogger(__name__)

_PATIENCE = 15.0


@dataclass(slots=True)
class _Target:
    """An initiator's target in tgtd, as it is."""

    number: int
    units: dict[int, Unit] = field(default_factory=dict)


class IscsiDataPlane:
    """Serves LUNs by iSCSI. Everything of it that outlives a process is in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._tgt = Tgt(directory)
        self._front = Front()
        self._changed = threading.Condition(threading.RLock())
        self._published: tuple[Svm, ...] = ()
        self._served: dict[tuple[str, str], _Target] = {}
        self._numbers = 0
        self._up = False
        self._started = False
        self._ending = False
        self._still = False
        self._failure: Exception | None = None
        self._keeper: threading.Thread | None = None

    def start(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._keeper = threading.Thread(target=self._keep, name="tgtd's keeper", daemon=True)
        self._started, self._ending, self._failure = False, False, None
        self._keeper.start()
        with self._changed:
            self._changed.wait_for(lambda: self._up or self._failure)
            if self._failure is not None:
                raise self._failure

    def stop(self) -> None:
        with self._changed:
            self._ending = True
            self._front.prepare(View())
            self._tgt.kill()
            self._changed.notify_all()
        if self._keeper is not None:
            self._keeper.join()
            self._keeper = None
        self._published = ()

    def publish(self, svms: tuple[Svm, ...]) -> None:
        with self._changed:
            if self._still:
                raise RuntimeError("nothing can be published while all stands still")
            self._published = tuple(map(_in_lower_case, svms))
            while True:
                if not self._changed.wait_for(lambda: self._up, _PATIENCE):
                    raise TgtError("tgtd does not come back")
                try:
                    return self._apply()
                except TgtError:
                    if not self._tgt.dead:
                        raise
                    self._up = False  # the keeper starts another one

    @contextmanager
    def still(self) -> Iterator[None]:
        with self._changed:
            self._still = True
            self._tgt.stop()
            try:
                yield
            finally:
                self._tgt.go_on()
                self._still = False

    # tgtd's life. It ends when the thread that started it ends, so one thread does all of it.

    def _keep(self) -> None:
        try:
            with _alone_in(self._directory):
                while not self._ending:
                    self._start_tgtd()
                    self._tgt.wait()
                    with self._changed:
                        self._up = False
        except Exception as error:  # the first start failed: `start` says so
            with self._changed:
                self._failure = error
                self._changed.notify_all()
        finally:
            self._tgt.kill()

    def _start_tgtd(self) -> None:
        with self._changed:
            if self._ending:
                return
            self._served.clear()
            try:
                self._tgt.start()
                self._apply()
            except TgtError as error:
                if not self._started:
                    raise
                log.error("tgtd is gone, and starting it again failed: %s", error)
                time.sleep(1)
                return
            self._up = self._started = True
            self._changed.notify_all()

    # What is published, made so.

    def _apply(self) -> None:
        """Make tgtd and the front serve what is published, from whatever they serve now.

        What cannot be served is left out, and is an error when all else is served.
        """
        wanted = {
            (svm.name, initiator): units
            for svm in self._published
            for initiator, units in svm.access.items()
        }
        self._front.prepare(self._view(wanted))
        for key in self._served.keys() - wanted.keys():
            self._remove_target(key)
        errors: list[TgtError] = []
        for key, units in wanted.items():
            errors += self._serve(key, units)
        if errors and self._tgt.dead:
            raise errors[0]
        self._front.let_in()
        if errors:
            raise errors[0]

    def _view(self, wanted: Mapping[tuple[str, str], object]) -> View:
        portals = {portal: svm for svm in self._published if svm.enabled for portal in svm.portals}
        targets = {key: _target_name(key) for key in wanted}
        return View(portals, targets, self._tgt.portal)

    def _remove_target(self, key: tuple[str, str]) -> None:
        number = self._served[key].number
        _until_free(partial(self._tgt.remove_target, number))
        del self._served[key]

    def _serve(self, key: tuple[str, str], units: Mapping[int, Unit]) -> list[TgtError]:
        target = self._served.get(key)
        if target is None:
            self._numbers += 1
            self._tgt.add_target(self._numbers, _target_name(key))
            target = self._served[key] = _Target(self._numbers)
        if target.units == units:
            return []
        # A unit is bare for a moment, or away when it is put back with a new size.
        with self._front.hold(*key):
            return self._change(target, units)

    def _change(self, target: _Target, units: Mapping[int, Unit]) -> list[TgtError]:
        errors = []
        for number, unit in list(target.units.items()):
            if units.get(number) != unit:
                _until_free(partial(self._tgt.remove_unit, target.number, number))
                del target.units[number]
        for number in units.keys() - target.units.keys():
            unit = units[number]
            try:
                self._tgt.add_unit(target.number, number, unit.path, unit.serial)
            except TgtError as error:
                errors.append(error)
            else:
                target.units[number] = unit
        return errors


def _target_name(key: tuple[str, str]) -> str:
    """An initiator's target in tgtd; hosts never see it."""
    digest = hashlib.sha256("\0".join(key).encode()).hexdigest()[:32]
    return f"iqn.2026-01.breezeblock.ontapsim:{digest}"


def _in_lower_case(svm: Svm) -> Svm:
    """iSCSI names are the same in both cases."""
    return replace(
        svm,
        access={initiator.lower(): units for initiator, units in svm.access.items()},
        credentials={initiator.lower(): one for initiator, one in svm.credentials.items()},
    )


def _until_free(act: Callable[[], None]) -> None:
    """Do it as soon as tgtd has finished what hosts asked for before."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return act()
        except StillInUseError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.005)


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """The directory is ours as long as this process lives."""
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TgtError(f"another simulator serves {directory}") from error
        with contextlib.closing(lock):
            yield
