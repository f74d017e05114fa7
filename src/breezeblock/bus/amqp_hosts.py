"""The brokers that a bus URL names: one, or the nodes of a cluster, parted by commas.

`amqp://user:password@mq1,mq2:5673,[2001:db8::3]/vhost` names three; user, virtual host and
parameters are the same for all.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from breezeblock.model.errors import InvalidInput

HOST = re.compile(r"(\[[0-9A-Fa-f:.%\w]+\]|[\w.-]+)(?::(\d{1,5}))?", re.ASCII)


def broker_urls(url: str) -> tuple[str, ...]:
    """One URL for each broker, in the order named. Raises InvalidInput, without the password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidInput("The bus URL has brackets that do not match.") from None
    user, at, hosts = parts.netloc.rpartition("@")
    named = [host.strip() for host in hosts.split(",")]
    for host in named:
        match = HOST.fullmatch(host)
        if match is None or (match[2] is not None and not 0 < int(match[2]) < 65536):
            raise InvalidInput(
                f"The bus URL names {host!r}, which is no host or host:port "
                "(amqp://user:password@mq1,mq2:5672/)."
            )
    return tuple(parts._replace(netloc=f"{user}{at}{host}").geturl() for host in named)


def without_password(url: str) -> str:
    """Host and port, as log lines name a broker."""
    return urlsplit(url).netloc.rpartition("@")[2]
