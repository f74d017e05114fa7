"""What is sealed is opened by its key, and by nothing else."""

from __future__ import annotations

import pytest

from breezeblock.model.sealing import name_of, seal, unseal

DOCUMENT = b"auth_key: 0123456789abcdef"


def test_the_key_opens_what_was_sealed_with_it() -> None:
    assert unseal("a key", seal("a key", DOCUMENT)) == DOCUMENT


def test_another_key_does_not() -> None:
    with pytest.raises(ValueError, match="not sealed with this key"):
        unseal("another key", seal("a key", DOCUMENT))


@pytest.mark.parametrize("place", [0, 16, -1])
def test_what_was_changed_is_not_opened(place: int) -> None:
    sealed = bytearray(seal("a key", DOCUMENT))
    sealed[place] ^= 1
    with pytest.raises(ValueError, match="not sealed with this key"):
        unseal("a key", bytes(sealed))


def test_the_same_is_sealed_differently_each_time_and_shows_nothing() -> None:
    one, other = seal("a key", DOCUMENT), seal("a key", DOCUMENT)
    assert one[16:] != other[16:]
    assert DOCUMENT[:8] not in one and b"a key" not in one


def test_a_name_stands_for_one_key_in_one_place() -> None:
    names = {
        name_of("k", "volume", "p"),
        name_of("k", "volume", "q"),
        name_of("l", "volume", "p"),
        name_of("k", "volumep"),
    }
    assert len(names) == 4
    assert all(len(name) <= 255 for name in names)
    assert name_of("k", "volume", "p") in names
