"""The security stage of a login: keys and answers until an initiator is believed. No I/O."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from breezeblock.ontapsim.data_plane import Credential
from breezeblock.ontapsim.iscsi import chap
from breezeblock.ontapsim.iscsi.pdu import Status


class RefusedError(Exception):
    """The login ends here, with that status."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


class Authentication:
    """One login's. `done` when nothing more is asked of the initiator."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential
        self._identifier = secrets.randbelow(256)
        self._challenge = secrets.token_bytes(16)
        self._chosen = False
        self._challenged = False
        self.done = False

    def skip(self) -> None:
        """The initiator goes without a security stage."""
        if not self.done and self._credential.kind != "none":
            raise RefusedError(Status.AUTHENTICATION_FAILED)

    def step(self, keys: Mapping[str, str]) -> dict[str, str]:
        """What answers these keys."""
        if self._credential.kind == "deny":
            raise RefusedError(Status.AUTHENTICATION_FAILED)
        if not self._chosen:
            return self._choose(keys)
        if self.done:
            return {}
        if not self._challenged:
            return self._ask(keys)
        return self._check(keys)

    def _choose(self, keys: Mapping[str, str]) -> dict[str, str]:
        method = "CHAP" if self._credential.kind == "chap" else "None"
        offered = keys.get("AuthMethod")
        if method not in (offered or "None").split(","):
            raise RefusedError(Status.AUTHENTICATION_FAILED)
        self._chosen = True
        self.done = method == "None"
        return {"AuthMethod": method} if offered else {}

    def _ask(self, keys: Mapping[str, str]) -> dict[str, str]:
        if chap.MD5 not in keys.get("CHAP_A", "").split(","):
            raise RefusedError(Status.AUTHENTICATION_FAILED)
        self._challenged = True
        return {
            "CHAP_A": chap.MD5,
            "CHAP_I": str(self._identifier),
            "CHAP_C": chap.encode(self._challenge),
        }

    def _check(self, keys: Mapping[str, str]) -> dict[str, str]:
        ours = self._credential
        try:
            answer = chap.decode(keys.get("CHAP_R", ""))
            mutual = _challenge_of(keys)
        except ValueError as error:
            raise RefusedError(Status.AUTHENTICATION_FAILED) from error
        proven = chap.proves(answer, self._identifier, ours.password, self._challenge)
        if keys.get("CHAP_N") != ours.user or not proven:
            raise RefusedError(Status.AUTHENTICATION_FAILED)
        self.done = True
        if mutual is None:
            return {}
        identifier, challenge = mutual
        # Our own challenge sent back would have us compute what the initiator cannot.
        if not ours.outbound_user or challenge == self._challenge:
            raise RefusedError(Status.AUTHENTICATION_FAILED)
        proof = chap.response(identifier, ours.outbound_password, challenge)
        return {"CHAP_N": ours.outbound_user, "CHAP_R": chap.encode(proof)}


def _challenge_of(keys: Mapping[str, str]) -> tuple[int, bytes] | None:
    """What the initiator wants proved by us, if anything. ValueError: it is malformed."""
    if "CHAP_I" not in keys and "CHAP_C" not in keys:
        return None
    identifier = int(keys.get("CHAP_I", ""))
    if not 0 <= identifier <= 255:
        raise ValueError("CHAP_I is one byte")
    return identifier, chap.decode(keys.get("CHAP_C", ""))
