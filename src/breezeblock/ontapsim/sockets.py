"""Sockets that listen, and errors that say where they could not."""

from __future__ import annotations

import os
import socket


def listen(address: tuple[str, int]) -> socket.socket:
    """OSError names the address."""
    try:
        return socket.create_server(address, backlog=128)
    except (OSError, UnicodeError) as error:
        raise _cannot_listen(address, error) from error


def bind(host: str, port: int) -> socket.socket:
    """A socket that does not listen yet; by name, or by an address of either family."""
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, place = places[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(place)
        except BaseException:
            bound.close()
            raise
    except (OSError, UnicodeError) as error:
        raise _cannot_listen((host, port), error) from error
    return bound


def _cannot_listen(address: tuple[str, int], error: OSError | UnicodeError) -> OSError:
    reason = str(error)
    if isinstance(error, OSError) and error.errno is not None:
        # `create_server` adds the address to the system's words.
        resolving = isinstance(error, socket.gaierror)
        reason = error.strerror or reason if resolving else os.strerror(error.errno)
    host, port = address
    return OSError(f"cannot listen on {host}{f':{port}' if port else ''}: {reason}")
