"""The array: its records, its files and what hosts see of them.

Who calls it holds `lock`. A change is one `changing()`: records in one transaction, files that are
needed made before its commit, then the new view published, then files that nobody needs removed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from breezeblock.ontapsim import errors, files, model, views
from breezeblock.ontapsim.data_plane import DataPlane
from breezeblock.ontapsim.layout import Layout
from breezeblock.ontapsim.model import Aggregate, Cluster, FlexVol, Igroup, Lun, Snapshot, Svm
from breezeblock.ontapsim.nfs.plane import NfsSvm
from breezeblock.ontapsim.seed import Seed, agree, plant
from breezeblock.ontapsim.state import State

N = TypeVar("N", bound=model.Record)


class FilePlane(Protocol):
    """Serves FlexVols as folders; `NfsDataPlane` is one."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def publish(self, svms: tuple[NfsSvm, ...]) -> None: ...

    def still(self) -> AbstractContextManager[None]: ...

    def remove(self, file: Path) -> None: ...


class Array:
    """One simulated cluster in one folder."""

    def __init__(
        self, folder: Path, seed: Seed, plane: DataPlane, shares: FilePlane | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.layout = Layout(folder)
        self.lock = threading.RLock()
        self.state = State(self.layout.state)
        self.plane = plane
        self._shares = shares
        self._seed = seed
        self._afterwards: list[Callable[[], None]] = []
        self._otherwise: list[Callable[[], None]] = []
        self._published: tuple[object, object] | None = None

    # Life

    def start(self) -> None:
        """Be as the records say, and serve. If that fails, `stop` is still to be called."""
        with self.lock:
            with self.state.transaction():
                if self.state.all(Cluster):
                    agree(self._seed, self.state)
                else:
                    plant(self._seed, self.state)
            self.plane.start()  # first of all: it makes sure that nobody else serves the folder
            self._settle()
            if self._shares:
                self._shares.start()
            self.publish()

    def stop(self) -> None:
        with self.lock:
            if self._shares:
                self._shares.stop()
            self.plane.stop()
            self.state.close()

    def reset(self) -> None:
        """As new: all that clients have made is gone, and the seed is planted again."""
        with self.lock:
            with self.state.transaction():
                self.state.clear()
                self.state.clear_log()
                plant(self._seed, self.state)
            for volume in self.state.all(FlexVol):
                self.layout.make(volume)
            self.publish()
            self._settle()

    def _settle(self) -> None:
        """Make files agree with records, after a process that was killed in between."""
        volumes = self.state.all(FlexVol)
        for volume in volumes:
            self.layout.make(volume)
        luns = self.state.all(Lun)
        for lun in luns:
            files.resize(self.layout.lun(lun), lun.size)
        self.layout.sweep(
            {volume.uuid for volume in volumes},
            {self.layout.lun(lun) for lun in luns},
            {snapshot.uuid for snapshot in self.state.all(Snapshot)},
        )

    # Change

    @contextmanager
    def changing(self) -> Iterator[None]:
        """One change, whole or not at all."""
        self._afterwards, self._otherwise = [], []
        try:
            with self.state.transaction():
                yield
        except BaseException:
            for work in reversed(self._otherwise):
                work()
            raise
        self.publish()
        for work in self._afterwards:
            work()

    def afterwards(self, work: Callable[[], None]) -> None:
        """Do this when the change is committed and hosts see it. It may never be done: a process
        that dies before leaves it to the sweep at the next start."""
        self._afterwards.append(work)

    def otherwise(self, work: Callable[[], None]) -> None:
        """Do this if the change is refused after all: take back what was done to files."""
        self._otherwise.append(work)

    def publish(self) -> None:
        """Tell what serves LUNs and files what there is, if that has changed."""
        luns, shares = views.luns(self.state, self.layout), views.shares(self.state, self.layout)
        if (luns, shares) != self._published:
            self._published = None
            self.plane.publish(luns)
            if self._shares:
                self._shares.publish(shares)
            self._published = luns, shares

    @contextmanager
    def still(self) -> Iterator[None]:
        """No host writes anything meanwhile."""
        with ExitStack() as stack:
            stack.enter_context(self.plane.still())
            if self._shares:
                stack.enter_context(self._shares.still())
            yield

    def remove_file(self, path: Path) -> None:
        """Delete a FlexVol's file, also for hosts that have it open."""
        if self._shares:
            self._shares.remove(path)
        else:
            path.unlink()

    # Looking things up

    @property
    def cluster(self) -> Cluster:
        (cluster,) = self.state.all(Cluster)
        return cluster

    def now(self) -> float:
        return time.time()

    def svm(self, name: str | None, uuid: str | None = None, target: str = "svm.name") -> Svm:
        found = [
            svm
            for svm in self.state.all(Svm)
            if (name is None or svm.name == name) and (uuid is None or svm.uuid == uuid)
        ]
        if not found:
            raise errors.no_such_svm(name or str(uuid), target)
        return found[0]

    def volume(self, svm: str, name: str, target: str = "name") -> FlexVol:
        for volume in self.state.named(FlexVol, name):
            if volume.svm == svm:
                return volume
        raise errors.no_such_volume(name, target)

    def volume_by_uuid(self, uuid: str, svm: str | None) -> FlexVol:
        volume = self.state.find(FlexVol, uuid)
        if volume is None or (svm is not None and volume.svm != svm):
            raise errors.no_such_volume_uuid(uuid)
        return volume

    def lun_named(self, volume: str, name: str) -> Lun | None:
        return next((lun for lun in self.state.named(Lun, name) if lun.volume == volume), None)

    def aggregate_of(self, volume: FlexVol) -> Aggregate:
        return self.state.get(Aggregate, volume.aggregate)

    def igroup(self, svm: str, name: str | None, uuid: str | None = None) -> Igroup:
        for igroup in self.state.all(Igroup):
            if (
                igroup.svm == svm
                and (name is None or igroup.name == name)
                and (uuid is None or igroup.uuid == uuid)
            ):
                return igroup
        raise errors.no_such_igroup(name or str(uuid))

    def of_svm(self, kind: type[N], svm: str, name: str) -> N | None:
        """The thing of that name in an SVM, if there is one."""
        found = self.state.named(kind, name)
        return next((record for record in found if getattr(record, "svm", None) == svm), None)
