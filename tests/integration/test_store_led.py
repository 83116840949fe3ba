"""Whether a leader's lease is alive, as who reads the plan is told: by the store's own time."""

from tests.support.books import Books


async def test_a_plan_says_whether_a_lease_was_alive_when_it_was_read(books: Books) -> None:
    assert not (await books.plans.in_force()).led
    lease = await books.leases.acquire("control", "one", 5.0)
    assert lease is not None
    assert (await books.plans.in_force()).led
    await books.later(6.0)
    assert not (await books.plans.in_force()).led
    lease = await books.leases.acquire("control", "one", 5.0)
    assert lease is not None
    await books.leases.release(lease)
    assert not (await books.plans.in_force()).led
