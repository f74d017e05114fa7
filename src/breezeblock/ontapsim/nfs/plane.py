"""The NFS half of the simulator's data plane: which junctions are to be had at which addresses.

The REST half computes the whole view from its state after each change and publishes it, as it does
for LUNs (`ontapsim/data_plane.py`); what is new is found out here. Changes of a SVM's LIFs are
made at once; a change of its junctions replaces its ganesha, which hosts do not notice but for a
pause: NFS clients send again what was not answered.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from breezeblock.ontapsim.nfs.ganesha import Ganesha
from breezeblock.ontapsim.nfs.lif import Lif


@dataclass(frozen=True, slots=True)
class NfsSvm:
    """The NFS service of one SVM.

    `addresses` are those of its NFS LIFs that are up. `junctions` are the folders of its FlexVols
    by the paths at which they are mounted. A service that is not enabled is left out, or empty.
    """

    name: str
    addresses: tuple[str, ...] = ()
    junctions: Mapping[str, Path] = field(default_factory=dict)


class NfsDataPlane:
    """Serves files to hosts. `directory` is its own: configurations, logs, export numbers."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._served: dict[str, _Served] = {}
        self._guard = threading.Lock()

    def start(self) -> None:
        """Nothing is published yet."""
        self._directory.mkdir(parents=True, exist_ok=True)

    def stop(self) -> None:
        """End it, and every connection."""
        self.publish(())

    def publish(self, svms: tuple[NfsSvm, ...]) -> None:
        """Serve exactly this from now on; returns when it holds."""
        wanted = {svm.name: svm for svm in svms if svm.addresses and svm.junctions}
        with self._guard:
            for name in self._served.keys() - wanted.keys():
                self._served.pop(name).stop()
            for name, svm in wanted.items():
                if name not in self._served:
                    self._served[name] = _Served(self._directory / name)
                self._served[name].become(svm)

    def still(self) -> AbstractContextManager[None]:
        """Nothing is written to any file meanwhile; hosts wait.

        Writes that were acknowledged before are in the files.
        """
        return self._still()

    @contextmanager
    def _still(self) -> Iterator[None]:
        with self._guard, contextlib.ExitStack() as stack:
            for served in self._served.values():
                stack.enter_context(served.still())
            yield

    def remove(self, file: Path) -> None:
        """Delete a file of a FlexVol; hosts that have it open do not write to it any more.

        A ganesha that has a file open would go on to write to what was unlinked behind its back,
        so it is asked to do it.
        """
        with self._guard:
            for served in self._served.values():
                with contextlib.suppress(OSError):
                    served.remove(file)
        file.unlink(missing_ok=True)

    def pids(self) -> tuple[int, ...]:
        """The processes that serve, for those who want to see what happens when they die."""
        with self._guard:
            return tuple(served.pid for served in self._served.values())


class _Served:
    """One SVM as it is served now."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._junctions: Mapping[str, Path] = {}
        self._ganesha: Ganesha | None = None
        self._lifs: dict[str, Lif] = {}

    @property
    def pid(self) -> int:
        assert self._ganesha is not None
        return self._ganesha.pid

    def become(self, svm: NfsSvm) -> None:
        for address in self._lifs.keys() - set(svm.addresses):
            self._lifs.pop(address).close()
        if self._ganesha is None or dict(svm.junctions) != self._junctions:
            self._replace(dict(svm.junctions))
        for address in svm.addresses:
            if address not in self._lifs:
                self._lifs[address] = Lif(address, nfs=self._nfs, mount=self._mount)

    def stop(self) -> None:
        for lif in self._lifs.values():
            lif.close()
        if self._ganesha is not None:
            self._ganesha.stop()

    def still(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext() if self._ganesha is None else self._ganesha.still()

    def remove(self, file: Path) -> None:
        """Delete it, if it lies in one of the junctions. OSError when that does not work."""
        for junction, folder in self._junctions.items():
            if self._ganesha is not None and file.parent == folder:
                self._ganesha.remove(junction, file.name)

    def _replace(self, junctions: dict[str, Path]) -> None:
        if self._ganesha is not None:
            self._ganesha.stop()
            self._ganesha = None
        numbers = _numbers(self._directory / "exports.json", list(junctions.values()))
        exports = {numbers[str(folder)]: (path, folder) for path, folder in junctions.items()}
        ganesha = Ganesha(self._directory, exports)
        ganesha.start()
        self._ganesha, self._junctions = ganesha, junctions

    def _nfs(self) -> tuple[str, int]:
        return self._ganesha.nfs if self._ganesha else ("127.0.0.1", 0)

    def _mount(self) -> tuple[str, int]:
        return self._ganesha.mount if self._ganesha else ("127.0.0.1", 0)


def _numbers(file: Path, folders: list[Path]) -> dict[str, int]:
    """A number for each folder, the same one as before for those that were there before."""
    numbers: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    for folder in map(str, folders):
        if folder not in numbers:
            numbers[folder] = max(numbers.values(), default=0) + 1
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps(numbers))
    temporary.replace(file)
    return numbers
