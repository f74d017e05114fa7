"""`breezeblock password`: the hash of a password, or a line of the users' file."""

from __future__ import annotations

import getpass
import sys

import bcrypt

LONGEST = 72
"""bcrypt looks at no more bytes than these."""


def password(
    name: str = "",
    /,
    *,
    project: str = "",
    roles: str = "",
) -> None:
    """Ask for a password (or read a line from standard input) and print its bcrypt hash.

    Parameters
    ----------
    name
        Print a line for the users' file (auth.users_file) instead, with this user's name.
    project
        His project; without one he gets one of his own.
    roles
        His roles, with commas between; without any he is a member.
    """
    if ":" in name + project + roles or ((project or roles) and not name):
        print("breezeblock: say whose password it is, without a colon", file=sys.stderr)
        raise SystemExit(2)
    if sys.stdin.isatty():
        text = getpass.getpass("Password: ")
    else:
        text = sys.stdin.readline().rstrip("\n")
    secret = text.encode()
    if not 0 < len(secret) <= LONGEST or b"\0" in secret:
        print(f"breezeblock: a password has 1 to {LONGEST} bytes", file=sys.stderr)
        raise SystemExit(2)
    hashed = bcrypt.hashpw(secret, bcrypt.gensalt()).decode()
    print(":".join((name, hashed, project, roles)).rstrip(":") if name else hashed)
