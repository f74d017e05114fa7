"""A machine with systemd as its first process, in namespaces of this one: for the units of deploy/.

It shares network and files with this machine, but for what the units write: /etc and /var/lib are
its own. It knows no units but those it is given. Breezeblock stands in /opt/breezeblock, as the
units want it. It takes root.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.e2e.deployment import PATIENCE, REPOSITORY

SYSTEMD = Path("/lib/systemd/systemd")
DEPLOY = REPOSITORY / "deploy" / "systemd"
TARGETS = ("sysinit", "basic", "multi-user", "network-online", "shutdown")

BOOT = """\
set -e
echo 0 > "$GROUP/cgroup.procs"
exec unshare --pid --mount --cgroup --uts --ipc --fork --kill-child --mount-proc sh -ec '
mount --make-rprivate / && mount --make-rshared /
umount -R /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs -o mode=755 none /run
mkdir /run/machine /run/machine/source /run/machine/python /run/machine/home
mount --bind "$HOME_OF_TEST" /run/machine/home
mount --bind "$SOURCE" /run/machine/source
mount --bind "$PYTHON" /run/machine/python
mkdir /run/machine/etc /run/machine/work
mount -t overlay -o lowerdir=/etc,upperdir=/run/machine/etc,workdir=/run/machine/work none /etc
hostname machine && rm -f /etc/hostname /etc/fstab && echo machine > /etc/hostname
mount -t tmpfs -o mode=755 none /var/lib
mount -t tmpfs -o mode=755 none /opt
mkdir -p /opt/breezeblock/bin
cp /run/machine/home/breezeblock /opt/breezeblock/bin/
systemd-sysusers "$DEPLOY/sysusers.d/breezeblock.conf"
systemd-tmpfiles --create "$DEPLOY/tmpfiles.d/breezeblock.conf"
cp -r /run/machine/home/etc/. /etc/breezeblock/
export container=tests SYSTEMD_UNIT_PATH=/run/machine/home/units
exec /lib/systemd/systemd --system --unit=multi-user.target --log-target=null
'
"""

COMMAND = f"""\
#!/bin/sh
# The virtual environment of the tests, where the service's user can read it.
export PYTHONPATH=/run/machine/source/src:/run/machine/source/{
    Path(sys.prefix).relative_to(REPOSITORY)
}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages
export LD_LIBRARY_PATH=/run/machine/python/lib
exec /run/machine/python/bin/python{sys.version_info[0]}.{sys.version_info[1]} -c \
'from breezeblock.cli.main import main; main()' "$@"
"""


class Machine:
    """`boot`, then `systemctl`; `remove` pulls the plug."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix=f"breezeblock-machine-{os.getpid()}-"))
        self.home.chmod(0o755)
        self.units = self.home / "units"
        self._group = _second_version() / self.home.name
        self._process: subprocess.Popen[bytes] | None = None
        self._first = 0
        shutil.copytree(DEPLOY, self.units, ignore=shutil.ignore_patterns("*.d"))
        for name in TARGETS:
            (self.units / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        self.configure("service.d", f"StandardOutput=append:{self._inside('log')}")
        command = self.home / "breezeblock"
        command.write_text(COMMAND)
        command.chmod(0o755)
        atexit.register(self.remove)

    def configure(self, drop_in: str, *lines: str) -> None:
        """Add to a unit, or to all of a kind (`service.d`)."""
        folder = self.units / drop_in
        folder.mkdir(exist_ok=True)
        (folder / "tests.conf").write_text("\n".join(["[Service]", *lines, ""]))

    def enable(self, unit: str, target: str) -> None:
        """What `systemctl enable` does."""
        wants = self.units / f"{target}.wants"
        wants.mkdir(exist_ok=True)
        (wants / unit).symlink_to(f"../{unit}")

    def file(self, name: str, text: str) -> None:
        """A file of root's in /etc/breezeblock."""
        path = self.home / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600 if "credentials" in name else 0o644)

    def boot(self) -> None:
        """Return when systemd answers."""
        self._group.mkdir()
        environment = {
            **{key: value for key, value in os.environ.items() if "BREEZEBLOCK" not in key},
            "GROUP": str(self._group),
            "HOME_OF_TEST": str(self.home),
            "SOURCE": str(REPOSITORY),
            "PYTHON": sys.base_prefix,
            "DEPLOY": str(DEPLOY),
        }
        with (self.home / "boot.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", BOOT], env=environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def systemctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it on the machine."""
        inside = ("nsenter", "-t", str(self._first), "-m", "-p", "-C", "-u")
        return subprocess.run(
            [*inside, "systemctl", "--no-pager", *arguments],
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
        )

    def show(self, unit: str, what: str) -> str:
        """A property of a unit."""
        return self.systemctl("show", "--value", f"--property={what}", unit).stdout.strip()

    def pid(self, unit: str) -> int:
        """The unit's main process, as this machine knows it."""
        inner = self.show(unit, "MainPID")
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                text = status.read_text()
                numbers = text.partition("NSpid:")[2].partition("\n")[0].split()
                if len(numbers) == 2 and numbers[1] == inner and self._holds(int(numbers[0])):
                    return int(numbers[0])
        raise AssertionError(f"{unit} has no process {inner}")

    def log(self) -> str:
        """What was said at boot, and by the services."""
        return "\n".join(
            path.read_text()[-6000:]
            for path in (self.home / "boot.log", self.home / "log")
            if path.exists()
        )

    def remove(self) -> None:
        atexit.unregister(self.remove)
        if self._process is not None:
            if self._group.exists():
                (self._group / "cgroup.kill").write_text("1")
            self._process.kill()
            self._process.wait()
            _remove_groups(self._group)
        shutil.rmtree(self.home, ignore_errors=True)

    def _inside(self, name: str) -> str:
        return f"/run/machine/home/{name}"

    def _holds(self, pid: int) -> bool:
        return self._group.name in Path(f"/proc/{pid}/cgroup").read_text()

    def _answers(self) -> bool:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        try:
            self._first = int(children.read_text().split()[0])
        except (OSError, IndexError):
            return False
        return self.systemctl("is-system-running").stdout.strip() in ("running", "degraded")


def _second_version() -> Path:
    """Where control groups of the second version are."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    raise RuntimeError("no control groups of version 2 are mounted")


def _remove_groups(group: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while group.exists() and time.monotonic() < deadline:
        for path in sorted(group.rglob("*"), key=lambda path: -len(path.parts)):
            if path.is_dir():
                with contextlib.suppress(OSError):
                    path.rmdir()
        with contextlib.suppress(OSError):
            group.rmdir()
        time.sleep(0.05)
