"""How block storage and the compute service prove to each other who they are.

By a token or a password of the configuration; where Keystone says who callers are, as the user that
asks it; and with HTTP basic authentication in one process, as a user of its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog

from breezeblock.config import Config, User

log = structlog.get_logger()

OWN_USER = "breezeblock"
_ROUNDS = 4
"""Enough for a password that is random and dies with the process."""


@dataclass(frozen=True)
class Credentials:
    """`for_client` are arguments of an httpx2 client; else `token` is a header's value, or "".

    `callers_header` is where a caller shows what the other service would take from him, too; ""
    when nothing of his means anything there.
    """

    token: str = ""
    for_client: dict[str, Any] = field(default_factory=dict)
    callers_header: str = ""


def between_services(config: Config) -> Credentials:
    """What a client of the other service sends."""
    compute, keystone, strategy = config.compute, config.auth.keystone, config.auth.strategy
    callers_header = "authorization" if strategy == "basic" else "x-auth-token"
    if compute.block_storage_user:
        auth = (compute.block_storage_user, compute.block_storage_password)
        shown = callers_header if strategy == "basic" else ""
        return Credentials(for_client={"auth": auth}, callers_header=shown)
    if compute.block_storage_token:
        return Credentials(compute.block_storage_token, callers_header=callers_header)
    if strategy == "keystone":
        from breezeblock.auth.keystone_client import ServiceToken, tls

        ours = {"auth": ServiceToken(keystone), "verify": tls(keystone)}
        return Credentials(for_client=ours, callers_header=callers_header)
    return Credentials()


def with_own_user(config: Config, roles: Collection[str]) -> Config:
    """The configuration of a process, with a user for its two services when it names none.

    Needed with HTTP basic authentication only. Services that run apart cannot know each other's
    user: then the operator has to name one, and is told.
    """
    compute, auth = config.compute, config.auth
    if auth.strategy != "basic" or compute.block_storage_user or compute.block_storage_token:
        return config
    if "api" not in roles or "compute-api" not in roles:
        log.warning(
            "block storage and compute cannot call each other",
            remedy="set compute.block_storage_user and block_storage_password to a user of "
            "auth.users with the roles admin and service",
        )
        return config
    import bcrypt

    password = secrets.token_urlsafe(32)
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=_ROUNDS)).decode()
    own = User(OWN_USER, hashed, project_id=OWN_USER, roles=("admin", "service"))
    return msgspec.structs.replace(
        config,
        auth=msgspec.structs.replace(auth, users=(*auth.users, own)),
        compute=msgspec.structs.replace(
            compute, block_storage_user=own.name, block_storage_password=password
        ),
    )
