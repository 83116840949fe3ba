"""The back-off table, flapping, and who serves a dead worker's queue."""

import pytest

from canary.app.restarts import DELAYS_S, History, Queue, after_death, delay_s, flapping, loans


def _dies(times: int, *, lived_s: float = 0.5, every_s: float = 1.0, history: History | None = None) -> History:
    history = history or History()
    for n in range(times):
        history = after_death(history, lived_s=lived_s, now=n * every_s)
    return history


def test_the_first_restart_is_at_once() -> None:
    assert delay_s(_dies(1)) == 0.0


@pytest.mark.parametrize("deaths", range(2, 20))
def test_pauses_grow_from_a_tenth_to_ten_seconds(deaths: int) -> None:
    pause = delay_s(_dies(deaths))
    assert pause == DELAYS_S[min(deaths, 9) - 1]
    assert 0.1 <= pause <= 10.0
    assert pause >= delay_s(_dies(deaths - 1))


def test_a_long_life_is_forgiven() -> None:
    assert delay_s(_dies(1, lived_s=11.0, history=_dies(8))) == 0.0


def test_no_long_pause_over_an_unserved_queue() -> None:
    assert delay_s(_dies(9), unserved=True) == 0.1
    assert delay_s(_dies(1), unserved=True) == 0.0


def test_five_deaths_in_a_minute_flap() -> None:
    assert not flapping(_dies(4), now=4.0)
    assert flapping(_dies(5), now=5.0)
    assert not flapping(_dies(5), now=61.0), "the first of the five is over a minute old"
    assert not flapping(_dies(9, every_s=16.0), now=128.0)


def test_all_deaths_are_counted_but_few_are_kept() -> None:
    history = _dies(500, every_s=0.01)
    assert history.total == 500
    assert len(history.deaths) <= 20
    assert flapping(history, now=5.0)


def test_a_queue_waits_one_second_for_its_own_worker() -> None:
    queues = {"worker-0": Queue(since=10.0), "worker-1": Queue()}
    assert loans(queues, {"worker-1"}, now=10.9) == []
    assert loans(queues, {"worker-1"}, now=11.0) == [("worker-0", "worker-1")]


def test_a_failed_restart_lends_at_once() -> None:
    queues = {"worker-0": Queue(since=10.0, restart_failed=True), "worker-1": Queue()}
    assert loans(queues, {"worker-1"}, now=10.2) == [("worker-0", "worker-1")]


def test_a_queue_is_lent_once_and_again_when_its_borrower_dies() -> None:
    lent = Queue(since=10.0, lent_to=frozenset({"worker-1"}))
    assert loans({"worker-0": lent}, {"worker-1", "worker-2"}, now=20.0) == []
    assert loans({"worker-0": lent}, {"worker-2"}, now=20.0) == [("worker-0", "worker-2")]


def test_loans_are_spread() -> None:
    queues = {name: Queue(since=0.0) for name in ("worker-0", "worker-1")}
    assert loans(queues, {"worker-2", "worker-3"}, now=5.0) == [("worker-0", "worker-2"), ("worker-1", "worker-3")]


def test_nobody_living_means_no_loan() -> None:
    assert loans({"worker-0": Queue(since=0.0)}, set(), now=99.0) == []
