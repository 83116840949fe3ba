"""How fast a count grows."""

from canary.control.growth import Growth


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
