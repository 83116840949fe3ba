"""Forcing an arm: only a genuine, unexpired word for this route is heard."""

import pytest

from canary.split.force import sign, verify
from canary.terms import Arm

KEY = b"secret"


def test_a_signed_word_names_its_arm_until_it_expires() -> None:
    word = sign("chat", Arm.CANDIDATE, expires=1_000, key=KEY).encode()
    assert verify(word, "chat", key=KEY, now=999.9) is Arm.CANDIDATE
    assert verify(word, "chat", key=KEY, now=1_000.0) is None


@pytest.mark.parametrize(
    "word",
    [
        b"",
        b"candidate",
        b"candidate.2000",
        b"candidate.2000.",
        b"candidate.2000.00",
        b"nobody.2000.00",
        b"candidate.-1.00",
        b"candidate.\xb2000.00",
        b"candidate.9" + b"9" * 200,
        b"candidate.2000.00.00",
    ],
)
def test_what_is_not_signed_says_nothing(word: bytes) -> None:
    assert verify(word, "chat", key=KEY, now=0) is None


def test_a_word_holds_for_its_own_route_arm_time_and_key_only() -> None:
    arm, expires, mac = sign("chat", Arm.CANDIDATE, expires=1_000, key=KEY).split(".")
    genuine = f"{arm}.{expires}.{mac}".encode()
    assert verify(genuine, "search", key=KEY, now=0) is None
    assert verify(genuine, "chat", key=b"other", now=0) is None
    assert verify(f"stable.{expires}.{mac}".encode(), "chat", key=KEY, now=0) is None
    assert verify(f"{arm}.{int(expires) + 1}.{mac}".encode(), "chat", key=KEY, now=0) is None


def test_without_a_key_nobody_is_heard() -> None:
    assert verify(sign("chat", Arm.STABLE, expires=1_000, key=b"").encode(), "chat", key=b"", now=0) is None
