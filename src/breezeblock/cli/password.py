"""`breezeblock password`: the hash of a password, for `auth.users`."""

from __future__ import annotations

import getpass
import sys

import bcrypt

LONGEST = 72
"""bcrypt looks at no more bytes than these."""


def password() -> None:
    """Ask for a password (or read a line from standard input) and print its bcrypt hash."""
    if sys.stdin.isatty():
        text = getpass.getpass("Password: ")
    else:
        text = sys.stdin.readline().rstrip("\n")
    secret = text.encode()
    if not 0 < len(secret) <= LONGEST:
        print(f"breezeblock: a password has 1 to {LONGEST} bytes", file=sys.stderr)
        raise SystemExit(2)
    print(bcrypt.hashpw(secret, bcrypt.gensalt()).decode())
