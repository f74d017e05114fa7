"""Cinder 29's own driver for ONTAP cannot tell the simulator from the array it was written for."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.ontap import Ontap

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-cinder" / "bin" / "python"


@pytest.fixture(scope="module")
def ontap_server() -> Iterator[Ontap]:
    """With a console: upstream sets CHAP secrets there, on port 22 of the management address."""
    server = Ontap(ssh=True)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def live(ontap: Ontap, home: Path, life: str, **more: object) -> list[str]:
    """The steps that a life of `upstream_driver.py` went through to its end."""
    array = {
        "host": ontap.host,
        "port": ontap.port,
        "user": ontap.user,
        "password": ontap.password,
        "svm": ontap.svm,
        "transport": "http",
        **more,
    }
    errors = home / "errors"
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            [str(PYTHON), "-m", "tests.ontapsim.upstream_driver", life, json.dumps(array)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": str(home)},
        ) as child,
    ):
        assert child.stdin and child.stdout
        steps = []
        try:
            for line in child.stdout:
                steps.append(line.strip())
                if steps[-1] == "restart":
                    ontap.kill()
                    ontap.start()
                    child.stdin.write("\n")
                    child.stdin.flush()
        except BaseException:
            child.kill()
            raise
    assert child.returncode == 0, "\n".join([*steps, errors.read_text()[-4000:]])
    return steps


@pytest.mark.e2e
def test_iscsi_with_jobs_that_take_their_time_and_zapi(ontap: Ontap, tmp_path: Path) -> None:
    ontap.settings(job_seconds=0.5)
    assert len(live(ontap, tmp_path, "iscsi", fallback=True)) == 11
    assert ontap.records("/storage/luns") == []


@pytest.mark.e2e
def test_chap_with_jobs_at_once_and_no_zapi(ontap: Ontap, tmp_path: Path) -> None:
    assert len(live(ontap, tmp_path, "chap", fallback=False)) == 6
    assert ontap.records("/storage/luns") == []
    kinds = ontap.api("GET", "/protocols/san/iscsi/credentials?fields=authentication_type")
    assert [kind["authentication_type"] for kind in kinds["records"]] == ["chap", "chap"]


@pytest.mark.e2e
def test_nfs(ontap: Ontap, tmp_path: Path) -> None:
    volumes = {record["name"]: record["uuid"] for record in ontap.records("/storage/volumes")}
    places = {
        f"{ontap.host}:/{name}": str(ontap.data / "flexvols" / uuid)
        for name, uuid in volumes.items()
    }
    assert len(live(ontap, tmp_path, "nfs", fallback=False, shares=places)) == 9
    by_array = [
        one
        for one in ontap.requests()
        if one["method"] == "DELETE" and "/files/" in one["path"] and one["status"] == 200
    ]
    assert (
        len(by_array) == 6
    )  # the driver would also delete them as files; and one is of the revert
    for place in places.values():
        assert [path.name for path in Path(place).iterdir()] == [".luns"]
