"""What the command says when it cannot start: one line, and status 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines.ontap import Ontap

COMMAND = [sys.executable, "-c", "from breezeblock.cli.main import main; main()", "ontapsim"]


def refused(data: Path, seed: Path, listen: str = "127.0.0.1:0", *more: str) -> str:
    """The line."""
    words = ["--data", str(data), "--seed", str(seed), "--listen", listen, "--no-tls", *more]
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("breezeblock: ")
    return line


@pytest.fixture
def seed(tmp_path: Path, ontap: Ontap) -> Path:
    """One whose addresses are the fixture's, with a port of its own."""
    path = tmp_path / "seed.toml"
    path.write_text(ontap.seed.read_text().replace("iscsi_port = 3260", "iscsi_port = 3261"))
    return path


@pytest.mark.parametrize(
    ("listen", "reason"),
    [
        ("10.99.99.99:443", "cannot listen on 10.99.99.99:443: Cannot assign requested address"),
        ("nonsense.invalid:443", "cannot listen on nonsense.invalid:443: "),
        ("a..b:443", "cannot listen on a..b:443: "),
        ("127.0.0.1:99999", "'127.0.0.1:99999' is not an address such as 127.8.0.1:443"),
        ("127.0.0.1", "'127.0.0.1' is not an address such as 127.8.0.1:443"),
    ],
)
def test_an_address_that_is_none(tmp_path: Path, seed: Path, listen: str, reason: str) -> None:
    assert reason in refused(tmp_path / "data", seed, listen)


def test_an_address_that_is_taken(tmp_path: Path, ontap: Ontap, seed: Path) -> None:
    taken = f"{ontap.host}:{ontap.port}"
    assert f"listen on {taken}: Address already in use" in refused(tmp_path / "data", seed, taken)


def test_a_second_simulator_on_the_same_folder(ontap: Ontap) -> None:
    assert "another simulator serves" in refused(ontap.data, ontap.seed)
    assert ontap.records("/storage/volumes")


def test_another_seed(ontap: Ontap, seed: Path) -> None:
    line = refused(ontap.data, seed)
    assert "svms.lifs: the seed has lif1 of svm1 at" in line
    assert line.endswith("; use another folder, or remove this one")


def test_a_lif_whose_address_this_machine_does_not_have(
    tmp_path: Path, ontap: Ontap, seed: Path
) -> None:
    seed.write_text(seed.read_text().replace(ontap.portals[1][0], "10.99.99.99"))
    line = refused(tmp_path / "data", seed)
    assert "svms[0].lifs[1].address: LIF 'lif2': cannot listen on 10.99.99.99: " in line


def test_a_lif_whose_port_is_taken(tmp_path: Path, ontap: Ontap) -> None:
    line = refused(tmp_path / "data", ontap.seed)
    assert ":3260: Address already in use" in line


def test_a_data_folder_that_is_none(tmp_path: Path, seed: Path) -> None:
    (tmp_path / "state.sqlite").write_text("no database, but a text that is long enough " * 99)
    assert "not a database" in refused(tmp_path, seed)
