"""A seed that cannot be used is refused with the key that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from breezeblock.ontapsim.seed import EXAMPLE, SeedError, load


def test_the_example_is_a_seed() -> None:
    assert [volume.name for volume in load(EXAMPLE).svms[0].volumes] == ["vol1", "vol2"]


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('version = "9.14.1"', 'version = "nine"', "version"),
        ('node = "sim-01"', 'node = "sim-09"', "aggregates[0].node"),
        ('aggregate = "aggr1"', 'aggregate = "aggr9"', "svms[0].volumes[0].aggregate"),
        ('address = "127.8.0.1"', 'address = "here"', "svms[0].lifs[0].address"),
        ('address = "127.8.0.2"', 'address = "127.8.0.1"', "svms.lifs.address"),
        ('svm = "svm1"', 'svm = "svm9"', "accounts[1].svm"),
        ('name = "vol2"', 'name = "vol1"', "svms[0].volumes"),
        ('name = "vol2"', 'name = "vol-2"', "svms[0].volumes[1].name"),
        ('junction = "/vol2"', 'junction = "vol2"', "svms[0].volumes[1].junction"),
        ("size_gb = 1000", "size_gb = 0", "aggregates[0].size_gb"),
        ('guarantee = "none"', 'guarantee = "file"', "volumes[0].guarantee"),
        ("iscsi_port = 3260", "port = 3260", "port"),
    ],
)
def test_refused(tmp_path: Path, old: str, new: str, key: str) -> None:
    text = EXAMPLE.read_text()
    assert old in text
    path = tmp_path / "seed.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(SeedError) as refusal:
        load(path)
    places = str(refusal.value).replace("...", "[0]").replace("[0]", "").replace("[1]", "")
    assert key.replace("[0]", "").replace("[1]", "") in places
