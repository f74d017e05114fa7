"""CHAP with MD5, as iSCSI carries it: computing and checking answers. No I/O."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

MD5 = "5"  # the algorithm's number in CHAP_A


def response(identifier: int, secret: str, challenge: bytes) -> bytes:
    """What proves knowledge of the secret, for that challenge."""
    text = bytes([identifier]) + secret.encode() + challenge
    return hashlib.md5(text, usedforsecurity=False).digest()


def proves(answer: bytes, identifier: int, secret: str, challenge: bytes) -> bool:
    return hmac.compare_digest(answer, response(identifier, secret, challenge))


def encode(value: bytes) -> str:
    return "0x" + value.hex()


def decode(text: str) -> bytes:
    """A binary value of a login key: hexadecimal (0x) or base64 (0b). ValueError: neither."""
    kind, rest = text[:2].lower(), text[2:]
    if kind == "0x":
        return bytes.fromhex(rest if len(rest) % 2 == 0 else "0" + rest)
    if kind == "0b":
        try:
            return base64.b64decode(rest, validate=True)
        except binascii.Error as error:
            raise ValueError(str(error)) from error
    raise ValueError(f"{text[:16]!r} is neither hexadecimal nor base64")
