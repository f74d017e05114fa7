"""CHAP: an answer proves the secret and nothing else does; what each login key is answered with."""

from __future__ import annotations

import pytest

from breezeblock.ontapsim.data_plane import Credential
from breezeblock.ontapsim.iscsi import chap
from breezeblock.ontapsim.iscsi.authentication import Authentication, RefusedError
from breezeblock.ontapsim.iscsi.pdu import Status

CHAP = Credential("chap", "joe", "secret-of-joe")
MUTUAL = Credential("chap", "joe", "secret-of-joe", "array", "secret-of-array")


def test_an_answer_is_the_md5_of_identifier_secret_and_challenge() -> None:
    # printf '\x01secret\xab\xcd' | md5sum
    assert chap.response(1, "secret", b"\xab\xcd").hex() == "1db7aab953f83d484446de8fb0501deb"


def test_only_the_right_secret_proves() -> None:
    answer = chap.response(7, "secret", b"challenge")
    assert chap.proves(answer, 7, "secret", b"challenge")
    assert not chap.proves(answer, 8, "secret", b"challenge")
    assert not chap.proves(answer, 7, "Secret", b"challenge")
    assert not chap.proves(answer, 7, "secret", b"challengf")
    assert not chap.proves(b"", 7, "secret", b"challenge")


@pytest.mark.parametrize("text", ["0x00ff10", "0X00FF10", "0bAP8Q", "0xff10"])
def test_binary_values(text: str) -> None:
    assert chap.decode(text).removeprefix(b"\0") == b"\xff\x10"


@pytest.mark.parametrize("text", ["", "00ff", "0xzz", "0b?", "0b====="])
def test_what_is_no_binary_value(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        chap.decode(text)


def _challenged(credential: Credential) -> tuple[Authentication, int, bytes]:
    authentication = Authentication(credential)
    assert authentication.step({"AuthMethod": "None,CHAP"}) == {"AuthMethod": "CHAP"}
    asked = authentication.step({"CHAP_A": "7,5"})
    assert asked["CHAP_A"] == "5"
    return authentication, int(asked["CHAP_I"]), chap.decode(asked["CHAP_C"])


def _proof(user: str, secret: str, identifier: int, challenge: bytes) -> dict[str, str]:
    answer = chap.response(identifier, secret, challenge)
    return {"CHAP_N": user, "CHAP_R": chap.encode(answer)}


def _refused(authentication: Authentication, keys: dict[str, str]) -> None:
    with pytest.raises(RefusedError) as refused:
        authentication.step(keys)
    assert refused.value.status is Status.AUTHENTICATION_FAILED
    assert not authentication.done


def test_who_proves_the_secret_is_believed() -> None:
    authentication, identifier, challenge = _challenged(CHAP)
    assert not authentication.done
    keys = _proof("joe", CHAP.password, identifier, challenge)
    assert authentication.step(keys) == {}
    assert authentication.done


@pytest.mark.parametrize(("user", "secret"), [("jim", "secret-of-joe"), ("joe", "another")])
def test_who_does_not_is_refused(user: str, secret: str) -> None:
    authentication, identifier, challenge = _challenged(CHAP)
    _refused(authentication, _proof(user, secret, identifier, challenge))


@pytest.mark.parametrize("keys", [{}, {"CHAP_N": "joe"}, {"CHAP_N": "joe", "CHAP_R": "0xzz"}])
def test_no_answer_is_no_proof(keys: dict[str, str]) -> None:
    authentication, _, _ = _challenged(CHAP)
    _refused(authentication, keys)


def test_every_login_gets_a_challenge_of_its_own() -> None:
    assert _challenged(CHAP)[2] != _challenged(CHAP)[2]


@pytest.mark.parametrize("offered", [{"AuthMethod": "None"}, {}, {"AuthMethod": "KRB5"}])
def test_chap_cannot_be_left_out(offered: dict[str, str]) -> None:
    _refused(Authentication(CHAP), offered)
    with pytest.raises(RefusedError):
        Authentication(CHAP).skip()


def test_another_algorithm_is_refused() -> None:
    authentication = Authentication(CHAP)
    authentication.step({"AuthMethod": "CHAP"})
    _refused(authentication, {"CHAP_A": "7"})


def test_who_is_denied_is_refused_whatever_it_offers() -> None:
    _refused(Authentication(Credential("deny")), {"AuthMethod": "CHAP,None"})
    with pytest.raises(RefusedError):
        Authentication(Credential("deny")).skip()


def test_without_a_credential_nothing_is_asked() -> None:
    authentication = Authentication(Credential("none"))
    authentication.skip()
    assert authentication.step({"AuthMethod": "CHAP,None"}) == {"AuthMethod": "None"}
    assert authentication.done
    _refused(Authentication(Credential("none")), {"AuthMethod": "CHAP"})


def test_the_array_proves_itself_when_asked() -> None:
    authentication, identifier, challenge = _challenged(MUTUAL)
    keys = _proof("joe", MUTUAL.password, identifier, challenge)
    answered = authentication.step({**keys, "CHAP_I": "9", "CHAP_C": "0x0102"})
    assert answered == _proof("array", MUTUAL.outbound_password, 9, b"\1\2")
    assert authentication.done


def test_an_array_without_an_outbound_secret_cannot() -> None:
    authentication, identifier, challenge = _challenged(CHAP)
    keys = _proof("joe", CHAP.password, identifier, challenge)
    with pytest.raises(RefusedError):
        authentication.step({**keys, "CHAP_I": "9", "CHAP_C": "0x0102"})


@pytest.mark.parametrize("mutual", [{"CHAP_I": "256", "CHAP_C": "0x01"}, {"CHAP_I": "1"}])
def test_a_malformed_counter_challenge_is_refused(mutual: dict[str, str]) -> None:
    authentication, identifier, challenge = _challenged(MUTUAL)
    keys = _proof("joe", MUTUAL.password, identifier, challenge)
    _refused(authentication, {**keys, **mutual})


def test_our_own_challenge_sent_back_is_refused() -> None:
    authentication, identifier, challenge = _challenged(MUTUAL)
    keys = _proof("joe", MUTUAL.password, identifier, challenge)
    with pytest.raises(RefusedError):
        authentication.step({**keys, "CHAP_I": "9", "CHAP_C": chap.encode(challenge)})
