"""How old the newest news is."""

from canary.control.freshness import Freshness, Growth
from canary.stats.counts import Horizon


def horizon(journal: str, tick_at_us: int, *, dead: bool = False) -> Horizon:
    """One journal's horizon."""
    return Horizon(journal=journal, tick_at_us=tick_at_us, dead=dead)


def test_what_was_there_at_the_first_look_may_be_old() -> None:
    freshness = Freshness()
    assert freshness.heard([horizon("a", 5)], 100.0) is None
    assert freshness.heard([horizon("a", 5)], 101.0) is None
    assert freshness.heard([horizon("a", 6)], 102.0) == 0.0
    assert freshness.heard([horizon("a", 6)], 109.0) == 7.0


def test_any_journal_that_grows_is_news() -> None:
    freshness = Freshness()
    freshness.heard([horizon("a", 5), horizon("b", 5)], 100.0)
    assert freshness.heard([horizon("a", 5), horizon("b", 6)], 101.0) == 0.0


def test_a_journal_that_joins_others_is_news() -> None:
    freshness = Freshness()
    freshness.heard([horizon("a", 5)], 100.0)
    assert freshness.heard([horizon("a", 5), horizon("b", 1)], 101.0) == 0.0


def test_a_tick_that_goes_back_is_no_news() -> None:
    freshness = Freshness()
    freshness.heard([horizon("a", 5)], 100.0)
    freshness.heard([horizon("a", 9)], 101.0)
    assert freshness.heard([horizon("a", 4)], 103.0) == 2.0
    assert freshness.heard([horizon("a", 8)], 104.0) == 3.0


def test_no_journal_is_no_news() -> None:
    assert Freshness().heard([], 100.0) is None


def test_growth_needs_a_few_seconds() -> None:
    growth = Growth()
    assert growth.per_s(100, 0.0) is None
    assert growth.per_s(104, 1.0) is None
    assert growth.per_s(112, 3.0) == 4.0


def test_growth_forgets_what_is_long_ago_and_never_promises_from_nothing() -> None:
    growth = Growth()
    growth.per_s(0, 0.0)
    growth.per_s(600, 50.0)
    assert growth.per_s(700, 100.0) == 2.0
    assert growth.per_s(600, 105.0) is None
