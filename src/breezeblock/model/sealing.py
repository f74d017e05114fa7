"""Sealing: what is kept for somebody in the database, and what only he can have opened.

Answers that tell a secret are kept under the client's Idempotency-Key, so that the same request can
be answered the same. The client shows the key again when he asks again; between the two nobody has
it, and the database alone does not open what it holds. A key that can be guessed protects nothing:
clients choose random ones.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # 50 modules and a library of 10 MB, for answers that few processes ever keep
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

_SALT, _NONCE = 16, bytes(12)


def name_of(key: str, *scope: str) -> str:
    """What stands in the database in the place of a key: it is found by it, and cannot be read."""
    text = "\0".join((*scope, key)).encode()
    return "sealed:" + hashlib.blake2b(text, digest_size=32, person=b"name").hexdigest()


def seal(key: str, document: bytes) -> bytes:
    """The document, as only the key opens it."""
    salt = secrets.token_bytes(_SALT)  # it makes the cipher's key another one each time
    return salt + _cipher(key, salt).encrypt(_NONCE, document, None)


def unseal(key: str, sealed: bytes) -> bytes:
    """Raises ValueError when the key is another one, or the document was changed."""
    from cryptography.exceptions import InvalidTag

    salt, content = sealed[:_SALT], sealed[_SALT:]
    try:
        return _cipher(key, salt).decrypt(_NONCE, content, None)
    except InvalidTag:
        raise ValueError("the document was not sealed with this key") from None


def _cipher(key: str, salt: bytes) -> ChaCha20Poly1305:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    secret = hashlib.blake2b(key.encode(), digest_size=32, salt=salt, person=b"seal").digest()
    return ChaCha20Poly1305(secret)
