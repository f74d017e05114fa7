"""NetApp's own client works against the simulator, over HTTPS with the certificate it made."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.ontap import Ontap

PYTHON = Path(__file__).parents[2] / ".venv-netapp" / "bin" / "python"


@pytest.fixture
def secure() -> Iterator[Ontap]:
    server = Ontap(tls=True)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.mark.e2e
def test_a_luns_life(secure: Ontap, tmp_path: Path) -> None:
    array = {
        "host": secure.host,
        "port": secure.port,
        "user": secure.user,
        "password": secure.password,
        "svm": secure.svm,
        "certificate": str(secure.certificate),
    }
    secure.settings(job_seconds=0.2)
    done = subprocess.run(
        [str(PYTHON), str(Path(__file__).with_name("netapp_client.py")), json.dumps(array)],
        capture_output=True,
        text=True,
        timeout=100,
        env={"HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "version": "NetApp Release 9.14.1: Simulator",
        "serial": 12,
        "attributes": {"owner": "me"},
        "number": 1,
        "clone": 1 << 20,
        "luns": ["/vol/vol1/c", "/vol/vol1/l"],
        "refused": "1254197",
        "files": ["d"],
    }
