"""The API service: the block storage API over HTTP."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from pathlib import Path

from breezeblock.api.application import Application
from breezeblock.api.routes import ROUTES
from breezeblock.auth.authenticators import Authenticator, BasicAuth, NoAuth
from breezeblock.auth.passwords import User
from breezeblock.auth.policy import Policy
from breezeblock.auth.rules import DEFAULTS as BLOCK_STORAGE_RULES
from breezeblock.config import Config, ConfigError
from breezeblock.web.app import make_app
from breezeblock.web.idempotency import Idempotency
from breezeblock.web.server import HttpServer
from breezeblock.web.service import block_storage
from breezeblock.web.versions import Ready

PASSIVE = socket.AI_PASSIVE
"""As servers ask: an empty name is every address of the machine."""


def api_server(tools: Application, callers: Authenticator, ready: Ready) -> HttpServer:
    """The HTTP server of the block storage API, not yet started. Raises ConfigError."""
    config = tools.config
    check_listen(config, "api.listen", config.api.listen)
    app = make_app(
        block_storage(
            public_endpoint=config.api.public_endpoint or None,
            max_limit=config.api.max_limit,
            project_id_regex=config.api.project_id_regex,
        ),
        ROUTES,
        app=tools,
        authenticator=callers,
        policy=policy(config),
        ready=ready,
        idempotency=Idempotency(
            tools.store, lease=config.operations.lease, patience=config.api.operation_timeout
        ),
    )
    return HttpServer(app, config.api.listen, config.api.port)


def policy(config: Config, defaults: Mapping[str, str] = BLOCK_STORAGE_RULES) -> Policy:
    """The rules of one API, with the operator's own where there is a file. Raises ConfigError."""
    if not config.auth.policy_file:
        return Policy(defaults=defaults)
    from breezeblock.compute.api.policy import DEFAULTS as COMPUTE_RULES

    others = {*BLOCK_STORAGE_RULES, *COMPUTE_RULES}
    try:
        return Policy(Path(config.auth.policy_file), defaults, others)
    except (OSError, ValueError) as error:
        raise ConfigError(f"auth.policy_file: {error}") from None


def authenticator(config: Config, service_types: frozenset[str]) -> Authenticator:
    """How callers prove who they are; it is to be closed in the end.

    `service_types`: what the API that they call is named in Keystone's catalog. Raises ConfigError.
    """
    if config.auth.strategy == "none":
        return NoAuth()
    if config.auth.strategy == "keystone":
        from breezeblock.auth.keystone import KeystoneAuth

        return KeystoneAuth(config.auth.keystone, service_types)
    users = (
        User(user.name, user.password.encode(), user.project_id, frozenset(user.roles))
        for user in config.auth.users
    )
    users_file = Path(config.auth.users_file) if config.auth.users_file else None
    try:
        return BasicAuth(users, users_file)
    except (OSError, ValueError) as error:
        raise ConfigError(f"auth.users_file: {error}") from None


def check_listen(config: Config, option: str, address: str) -> None:
    """Without authentication only loopback is served, unless the operator says it in so many words.

    `option` is what the address is called in the configuration. Raises ConfigError.
    """
    if config.auth.strategy != "none" or config.auth.none_listens_beyond_loopback:
        return
    beyond = [
        one for one in _resolved(option, address) if not ipaddress.ip_address(one).is_loopback
    ]
    if beyond:
        raise ConfigError(
            f"{option} = {address!r} with auth.strategy = 'none' would make everyone who reaches "
            f"the port at {beyond[0]} an administrator. Use 'basic' or 'keystone', or say "
            "auth.none_listens_beyond_loopback = true."
        )


def _resolved(option: str, address: str) -> list[str]:
    """The addresses behind a name. Also `localhost` is what the machine says it is."""
    try:
        found = socket.getaddrinfo(address or None, 0, type=socket.SOCK_STREAM, flags=PASSIVE)
    except OSError as error:
        raise ConfigError(f"{option} = {address!r}: {error.strerror}") from None
    return [str(place[0]).partition("%")[0] for *_, place in found]
