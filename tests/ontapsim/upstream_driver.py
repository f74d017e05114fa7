"""Cinder 29's own NetApp driver, unmodified, through a volume's whole life on the simulator.

Runs in `.venv-cinder`, as `python -m tests.ontapsim.upstream_driver LIFE ARRAY`: the name of a life
below, and as JSON where the array is. It prints what it did, and ends with an error at the first
thing that is not as it must be.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from tests.ontapsim import upstream_cinder, upstream_iscsi, upstream_nfs
from tests.ontapsim.upstream_cinder import Array


def iscsi(array: Array, folder: Path) -> None:
    options = {"netapp_storage_protocol": "iscsi"}
    upstream_iscsi.life(upstream_cinder.start(array, folder, options), array)


def chap(array: Array, folder: Path) -> None:
    options = {"netapp_storage_protocol": "iscsi", "use_chap_auth": True}
    upstream_iscsi.chap_life(upstream_cinder.start(array, folder, options), array)


def nfs(array: Array, folder: Path) -> None:
    def prepare(driver: Any) -> None:
        upstream_nfs.mount(driver, array["shares"])

    options = upstream_nfs.options(array, folder)
    upstream_nfs.life(upstream_cinder.start(array, folder, options, prepare), array)


LIVES = {life.__name__: life for life in (iscsi, chap, nfs)}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        LIVES[sys.argv[1]](json.loads(sys.argv[2]), Path(folder))


if __name__ == "__main__":
    failed = False
    try:
        main()
    except BaseException:
        traceback.print_exc()
        failed = True
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(failed)  # the driver's periodic loops never end
