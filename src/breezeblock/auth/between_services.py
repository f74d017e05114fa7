"""How block storage and the compute service prove to each other who they are.

By a token or a password of the configuration, or where Keystone says who callers are, as the user
that asks it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from breezeblock.auth.keystone_client import ServiceToken, tls
from breezeblock.config import Config


@dataclass(frozen=True)
class Credentials:
    """`for_client` are arguments of an httpx2 client; else `token` is a header's value, or ""."""

    token: str = ""
    for_client: dict[str, Any] = field(default_factory=dict)


def between_services(config: Config) -> Credentials:
    """What a client of the other service sends."""
    compute, keystone = config.compute, config.auth.keystone
    if compute.block_storage_user:
        auth = (compute.block_storage_user, compute.block_storage_password)
        return Credentials(for_client={"auth": auth})
    if compute.block_storage_token:
        return Credentials(compute.block_storage_token)
    if config.auth.strategy == "keystone":
        return Credentials(for_client={"auth": ServiceToken(keystone), "verify": tls(keystone)})
    return Credentials()
