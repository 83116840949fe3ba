"""Pairs as people ask for them."""

import pytest

from canary.errors import NotFound, Refused
from canary.store.bodies import Bodies, pack_bodies
from canary.store.database import Database
from canary.store.pairs import Pairs
from canary.store.partitions import ensure_partitions
from canary.store.records import Recorder
from canary.store.rows import BodyRow
from canary.terms import Ending
from tests.support.store_rows import START_US, a_batch, a_pair_row, an_exchange_id, an_outcome_row, hex_of

FOREVER_US = START_US * 2


async def stored(database: Database, number: int = 6) -> list[str]:
    """Pairs by number, the even ones differing, the first two of another rollout; returns their ids, oldest first."""
    await ensure_partitions(database, days=1)
    keys = [an_exchange_id() for _ in range(number)]
    rows = [
        a_pair_row(key, same_status=n % 2 == 1, rollout="r0" if n < 2 else "r1", route="other" if n == 5 else "chat")
        for n, key in enumerate(keys)
    ]
    await Recorder(database).commit(a_batch(pairs=rows))
    return [hex_of(key) for key in keys]


async def ids(pairs: Pairs, **filters: object) -> list[str]:
    """What a list shows."""
    return [pair.exchange_id for pair in await pairs.list(**filters)]  # type: ignore[arg-type]


async def test_the_list_is_newest_first_and_filtered(database: Database) -> None:
    keys, pairs = await stored(database), Pairs(database)
    assert await ids(pairs) == keys[::-1]
    assert await ids(pairs, limit=2) == keys[:-3:-1]
    assert await ids(pairs, rollout="r0") == [keys[1], keys[0]]
    assert await ids(pairs, route="other") == [keys[5]]
    assert await ids(pairs, differing=True) == [keys[4], keys[2], keys[0]]
    assert await ids(pairs, rollout="r1", route="chat", differing=True) == [keys[4], keys[2]]
    assert await ids(pairs, route="nowhere") == []


async def test_pages_follow_each_other(database: Database) -> None:
    keys, pairs = await stored(database), Pairs(database)
    first = await ids(pairs, limit=4)
    assert await ids(pairs, limit=4, before=first[-1]) == [keys[1], keys[0]]
    assert await ids(pairs, before=keys[0]) == []


async def test_a_summary_says_both_sides(database: Database) -> None:
    row = a_pair_row(shadow_status=500, shadow_latency_us=-1, shadow_ending=Ending.RESET, same_status=False, same_body=False)
    await Recorder(database).commit(a_batch(pairs=[row]))
    (pair,) = await Pairs(database).list()
    assert (pair.live.version, pair.live.status, pair.live.latency_us) == ("v1", 200, 6_000)
    assert (pair.shadow.version, pair.shadow.status, pair.shadow.latency_us, pair.shadow.ending) == ("v2", 500, None, "reset")
    assert (pair.differs, pair.same_body, pair.lost, pair.segment) == (True, False, False, 7)


async def test_declared_values_are_told_apart(database: Database) -> None:
    row = a_pair_row(facts='{"cost":0.0042,"score":null,"refused":"unreadable"}')
    await Recorder(database).commit(a_batch(pairs=[row]))
    (pair,) = await Pairs(database).list()
    assert pair.live.facts == {"cost": 0.0042, "score": None, "refused": "unreadable"}
    assert pair.shadow.facts is None, "nothing was recorded of the copy"
    assert (await Pairs(database).show(pair.exchange_id)).summary == pair


async def test_one_pair_is_shown_with_its_outcome_and_bodies(database: Database) -> None:
    key = an_exchange_id()
    bodies = Bodies(request=b"ask", live=b"one", shadow=b"two")
    batch = a_batch(
        outcomes=[an_outcome_row(key, path="/v1/chat", method="POST", request_headers='{"accept":"*/*"}')],
        pairs=[a_pair_row(key)],
        bodies=[BodyRow(key, FOREVER_US, "chat", pack_bodies(bodies))],
    )
    await Recorder(database).commit(batch)
    detail = await Pairs(database).show(hex_of(key))
    assert detail.summary.exchange_id == hex_of(key)
    assert (detail.method, detail.path, detail.arm) == ("POST", "/v1/chat", "stable")
    assert (detail.request_headers, detail.response_headers) == ('{"accept":"*/*"}', "")
    assert detail.bodies == bodies


@pytest.mark.parametrize("blob", [None, b"damaged", pack_bodies(Bodies())[:-3]])
async def test_without_readable_bodies_the_rest_is_shown(database: Database, blob: bytes | None) -> None:
    key = an_exchange_id()
    bodies = [BodyRow(key, FOREVER_US, "chat", blob)] if blob else []
    await Recorder(database).commit(a_batch(pairs=[a_pair_row(key)], bodies=bodies))
    detail = await Pairs(database).show(hex_of(key))
    assert (detail.bodies, detail.path, detail.summary.route) == (None, "", "chat")


async def test_bodies_past_their_date_are_not_shown(database: Database) -> None:
    key = an_exchange_id()
    body = BodyRow(key, START_US, "chat", pack_bodies(Bodies(live=b"old")))
    await Recorder(database).commit(a_batch(pairs=[a_pair_row(key)], bodies=[body]))
    assert (await Pairs(database).show(hex_of(key))).bodies is None


async def test_what_is_not_there_and_what_is_no_id(database: Database) -> None:
    pairs = Pairs(database)
    with pytest.raises(NotFound):
        await pairs.show("0" * 32)
    with pytest.raises(Refused, match="exchange id"):
        await pairs.show("'; DROP TABLE pairs; --")
    with pytest.raises(Refused):
        await pairs.list(before="yesterday")
