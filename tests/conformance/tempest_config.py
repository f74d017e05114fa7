"""What Tempest is told about the cloud it runs against: its tempest.conf.

What Breezeblock does not have is switched off here, and nothing else, so that the reasons of what
Tempest skips can be believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.engines.keystone import DOMAIN, PASSWORD, REGION

IMAGE = "6c5b1a5e-6d34-4a86-9b3e-0f7f1a7f5d11"
"""The image in Glance that volumes are made of, and that stands for the servers' kernel."""
FLAVOR = "tiny"

SERVICES = {
    **dict.fromkeys(("cinder", "glance", "nova"), True),
    "neutron": True,  # says tests.conformance.tempest, for the sake of the tests with servers
    **dict.fromkeys(("swift", "horizon"), False),
}
VOLUME_FEATURES = {
    "backup": False,
    "consistency_group": False,
    "extend_attached_volume": True,
    "manage_snapshot": False,
    "manage_volume": False,
    "multi_backend": False,
}


def sections(
    home: Path, keystone_url: str, pool: Mapping[str, str]
) -> Mapping[str, Mapping[str, object]]:
    """The sections of tempest.conf. `pool`: capabilities of the pool that types ask for."""
    return {
        "DEFAULT": {"log_file": home / "tempest.log"},
        "oslo_concurrency": {"lock_path": home / "locks"},
        "auth": {
            "use_dynamic_credentials": True,
            "create_isolated_networks": False,
            "admin_username": "admin",
            "admin_password": PASSWORD,
            "admin_project_name": "admin",
            "admin_domain_name": DOMAIN,
        },
        "identity": {"uri_v3": keystone_url, "auth_version": "v3", "region": REGION},
        "service_available": SERVICES,
        "enforce_scope": {"cinder": True},
        "validation": {"run_validation": False},  # there is no network to log in by
        "compute": {
            "image_ref": IMAGE,
            "image_ref_alt": IMAGE,
            "flavor_ref": FLAVOR,
            "flavor_ref_alt": FLAVOR,
            "min_microversion": "2.1",
            "max_microversion": "2.104",
        },
        "volume": {
            "catalog_type": "block-storage",
            "min_microversion": "3.0",
            "max_microversion": "3.71",
            **pool,
        },
        "volume-feature-enabled": VOLUME_FEATURES,
    }
