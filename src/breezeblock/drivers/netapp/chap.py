"""Who an initiator must prove to be: a user and a secret, derived from the operator's key.

Nothing is stored: every service of the backend that has the key comes to the same answer. The user
is derived from the key as well, so that a credential that stems from another key is recognised (the
array never tells secrets) and replaced.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field

from breezeblock.drivers.base import PermanentError
from breezeblock.drivers.netapp.client import Ontap, OntapError, part
from breezeblock.drivers.netapp.igroups import initiators_in_use

CREDENTIALS = "/protocols/san/iscsi/credentials"
EXISTS = 5374142
MISSING = frozenset({4, 5374895})
USERS = "breezeblock-"
"""How the users of our credentials begin."""
SECRET_LENGTH = 16
"""iSCSI wants 12 bytes at least, and many initiators take 16 at most."""


@dataclass(frozen=True, slots=True)
class Login:
    user: str
    secret: str = field(repr=False)


class Chap:
    """The credentials of the initiators, on the array; none at all without a key."""

    def __init__(self, client: Ontap, key: str | None) -> None:
        self._client = client
        self._key = None if key is None else key.encode()

    def login(self, initiator: str) -> Login | None:
        """What this initiator logs in with; None where nobody has to."""
        if self._key is None:
            return None
        return Login(self._user, self._derived(f"secret of {initiator}", SECRET_LENGTH))

    def check(self, initiators: Iterable[str]) -> None:
        """Raises PermanentError if somebody else says how one of these logs in.

        Hosts log in to the SVM, not to a LUN: another secret would lock them out of what they have
        from others.
        """
        if self._key is not None:
            for initiator in initiators:
                found = self._find(initiator)
                if found is not None and not _user_of(found).startswith(USERS):
                    raise PermanentError(
                        "The host's initiator has a credential on the storage array that is not"
                        " Breezeblock's.",
                        remedy="Remove the credential, or set use_chap_auth to false.",
                    )

    def grant(self, initiators: Iterable[str]) -> None:
        """Make the array ask these initiators for their secrets."""
        for initiator in initiators:
            login = self.login(initiator)
            if login is not None:
                self._grant(initiator, login)

    def revoke(self, initiators: Iterable[str]) -> None:
        """Forget the secrets of those that have come to be in no igroup.

        A parallel export may just have found one's credential there: so afterwards those who are
        in an igroup again get theirs back.
        """
        if self._key is None:
            return
        idle = set(initiators) - initiators_in_use(self._client, initiators)
        for initiator in idle:
            found = self._find(initiator)
            if found is not None and _user_of(found) == self._user:
                self._forget(found)
        if idle:
            self.grant(initiators_in_use(self._client, idle))

    def revoke_idle(self) -> None:
        """Forget all secrets of ours whose initiators are in no igroup."""
        if self._key is not None:
            found = self._client.records(
                CREDENTIALS, {"chap.inbound.user": self._user}, fields=("initiator",)
            )
            if found:
                self.revoke([one["initiator"] for one in found])

    @property
    def _user(self) -> str:
        return USERS + self._derived("user", 8)

    def _derived(self, purpose: str, length: int) -> str:
        """Letters and digits that only who has the key can tell."""
        assert self._key is not None
        digest = hmac.new(self._key, purpose.encode(), hashlib.sha256).digest()
        return base64.b32encode(digest).decode()[:length].lower()

    def _find(self, initiator: str) -> dict[str, object] | None:
        asked = ("svm.uuid", "initiator", "authentication_type", "chap.inbound.user")
        found = self._client.records(CREDENTIALS, {"initiator": initiator}, fields=asked)
        return found[0] if found else None

    def _grant(self, initiator: str, login: Login) -> None:
        found = self._find(initiator)
        if found is not None and _asks_for(found, login.user):
            return
        inbound = {"user": login.user, "password": login.secret}
        wanted = {"authentication_type": "chap", "chap": {"inbound": inbound}}
        if found is None:
            try:
                self._client.post(CREDENTIALS, {"initiator": initiator, **wanted})
                return
            except OntapError as error:
                if error.code != EXISTS:
                    raise
            found = self._find(initiator)  # somebody else was quicker
            if found is None or _asks_for(found, login.user):
                return
        self._client.patch(_path(found), wanted)

    def _forget(self, found: dict[str, object]) -> None:
        try:
            self._client.delete(_path(found))
        except OntapError as error:
            if error.code not in MISSING:
                raise


def _path(found: dict[str, object]) -> str:
    svm = found["svm"]
    assert isinstance(svm, dict)
    return f"{CREDENTIALS}/{svm['uuid']}/{part(str(found['initiator']))}"


def _user_of(found: dict[str, object]) -> str:
    chap = found.get("chap")
    inbound = chap.get("inbound") if isinstance(chap, dict) else None
    return str(inbound.get("user") or "") if isinstance(inbound, dict) else ""


def _asks_for(found: dict[str, object], user: str) -> bool:
    return found.get("authentication_type") == "chap" and _user_of(found) == user
