"""Cinder 29's own driver for ONTAP cannot tell the simulator from the array it was written for."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.engines.ontap import Ontap

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-cinder" / "bin" / "python"
STEPS = 11


@pytest.mark.e2e
@pytest.mark.parametrize("job_seconds", [0, 0.5])
@pytest.mark.parametrize("legacy", [False, True])
def test_whole_life(ontap: Ontap, job_seconds: float, legacy: bool, tmp_path: Path) -> None:
    """With jobs that are done at once and that take their time; with ZAPI calls and without."""
    ontap.settings(job_seconds=job_seconds)
    array = {
        "host": ontap.host,
        "port": ontap.port,
        "user": ontap.user,
        "password": ontap.password,
        "svm": ontap.svm,
        "transport": "http",
        "fallback": legacy,
    }
    done = subprocess.run(
        [str(PYTHON), str(Path(__file__).with_name("upstream_driver.py")), json.dumps(array)],
        capture_output=True,
        text=True,
        timeout=110,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert len(done.stdout.splitlines()) == STEPS
    assert ontap.records("/storage/luns") == []
