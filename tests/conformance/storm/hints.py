"""What there is, by name: a request made of random texts alone would find nothing.

A true request gets known words in place of some of its random ones (`told`); it stays a request
that the document allows, since whoever asks for hints judges it again.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from tests.service.catalog_fixture import OTHER, PROJECT

CHOICES = ("newest", "new", "fresh", "second", "third", "fourth")
"""What stands in a field of a path for an id; three of them mean the thing that was made last."""
IDS: Mapping[str, tuple[str, ...]] = {
    f"/{collection}": tuple(f"00000000-0000-4000-8000-{number}0000000000{n}" for n in range(3))
    for number, collection in enumerate(("volumes", "snapshots", "types"))
}
"""What stands in a body for the id of something in this collection."""
WORDS: Mapping[str, tuple[str, ...]] = {
    "{key}": ("k", "k", "a key", "ключ"),
    "{project}": (PROJECT, OTHER),
    "{project_id}": (PROJECT, OTHER),
    "{quota_class}": ("default", "gold"),
    "{host}": ("node1@fast", "node1@fast#fast"),
    "{host_name}": ("node1@fast", "node1"),
    "{alias}": ("os-volume-type-access", "os-extended-services"),
}
"""Fields of paths that are no ids, and what is known to stand there."""
KNOWN: Mapping[str, tuple[Any, ...]] = {
    "volume_id": IDS["/volumes"],
    "volume_uuid": IDS["/volumes"],
    "source_volid": IDS["/volumes"],
    "snapshot_id": IDS["/snapshots"],
    "size": (1, 2),
    "new_size": (2, 3, 4),
    "volume_type": ("__DEFAULT__",),
    "status": ("available", "error", "in-use"),
    "host": ("node1@fast",),
    "cluster": (None,),
    "quota_set": ({"volumes": 50},),
    "quota_class_set": ({"volumes": 50},),
    "binary": ("cinder-volume",),
    "availability_zone": ("nova",),
    "mode": ("rw", "ro"),
    "name": ("one", "two"),
    "description": ("a description",),
    "connector": ({"host": "compute1"}, None),
    "imageRef": (None,),
    "group_id": (None,),
    "consistencygroup_id": (None,),
    "backup_id": (None,),
    "attachment_id": (None,),
    "metadata": ({"k": "v"}, {}),
    "extra_specs": ({"k": "v"},),
    "meta": ({"k": "v"},),
    "project": (PROJECT, OTHER),
    "key": ("k",),
}
KNOWN_QUERY: Mapping[str, tuple[Any, ...]] = {
    "limit": (0, 1, 1000),
    "offset": (0, 1),
    "detail": ("true", "False"),
    "usage": ("true",),
    "force": ("true",),
    "cascade": ("true", "false"),
    "sort": ("created_at:asc", "id", "name:desc,id:asc"),
    "sort_key": ("created_at", "name"),
    "sort_dir": ("asc", "desc"),
    "resource": ("volume",),
    "status": ("available",),
    "binary": ("cinder-volume",),
    "host": ("node1@fast",),
    "bootable": ("true",),
    "all_tenants": ("1",),
    "resource_id": (PROJECT,),
}


def told(document: Any, known: Mapping[str, tuple[Any, ...]], dice: random.Random) -> Any:
    """The document with known values in place of half of those that it has under known names."""
    if isinstance(document, list):
        return [told(one, known, dice) for one in document]
    if not isinstance(document, dict):
        return document
    return {
        key: dice.choice(known[key])
        if key in known and dice.random() < 0.6
        else told(value, known, dice)
        for key, value in document.items()
    }
