"""Ids and salts."""

import uuid

from canary.control.identity import new_id, new_salt
from tests.support.rollouts import at


def test_ids_are_in_the_order_of_their_instants_and_unlike() -> None:
    ids = [new_id(at(second)) for second in range(50)]
    assert ids == sorted(ids)
    assert len({new_id(at(0)) for _ in range(50)}) == 50


def test_ids_are_uuids_of_version_seven_that_tell_their_instant() -> None:
    found = uuid.UUID(new_id(at(1)))
    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert found.int >> 80 == int(at(1).timestamp() * 1_000)


def test_salts_are_sixteen_bytes_and_never_the_same() -> None:
    assert len(new_salt()) == 16
    assert len({new_salt() for _ in range(50)}) == 50
