"""Declared values of a pair: what is told, absent, unreadable, not kept and not recorded are five different things."""

import pytest

from canary.rollout.declared import declared, in_short
from canary.terms import Measures, MetricKind, MetricSpec

COST = MetricSpec(name="cost", kind=MetricKind.MEAN, source="header:x-cost", unit="USD")
REFUSED = MetricSpec(name="refused", kind=MetricKind.RATE, source="json:/refused")
TIME = MetricSpec(name="think_time", kind=MetricKind.MEAN, source="fact:latency", unit="ms")
MEASURES = Measures(metrics=(COST, REFUSED, TIME))


def test_rows_are_in_the_order_of_the_route_and_carry_unit_and_kind() -> None:
    rows = declared(MEASURES, {"think_time": 12.5, "cost": 0.0042}, {"cost": 0.004, "old": 3.0})
    assert [(row.name, row.kind, row.unit) for row in rows] == [
        ("cost", "mean", "USD"),
        ("think_time", "mean", "ms"),
        ("old", "", ""),
    ]
    assert [(row.live.text, row.shadow.text) for row in rows] == [
        ("0.0042 USD", "0.004 USD"),
        ("12.5 ms", "not recorded"),
        ("not recorded", "3"),
    ]
    assert rows[0].live.value == 0.0042


@pytest.mark.parametrize(
    ("found", "state", "text"),
    [
        (None, "absent", "absent"),
        ("unreadable", "unreadable", "unreadable"),
        ("not kept", "not kept", "not kept (the body was not captured whole)"),
        (1.0, "told", "yes"),
        (0.0, "told", "no"),
        (0.5, "told", "0.5 (counts as yes)"),
        (-1.0, "told", "-1 (counts as bad)"),
    ],
)
def test_a_rates_value_says_what_it_counts_as(found: float | str | None, state: str, text: str) -> None:
    (row,) = declared(MEASURES, {"refused": found}, None)
    assert (row.live.state, row.live.text) == (state, text)
    assert row.live.value == (found if state == "told" else None)
    assert row.shadow.state == "not recorded", "the copy's worker died"


def test_nothing_stored_is_nothing_shown() -> None:
    assert declared(MEASURES, None, None) == ()
    assert in_short(()) == ""


def test_a_line_holds_three_values_and_counts_the_rest() -> None:
    rows = declared(None, {"a": 1.0, "b": 2.0, "c_d": 3.0, "e": 4.0}, {"a": 1.5})
    assert in_short(rows) == "a 1 / 1.5, b 2 / not recorded, c d 3 / not recorded and 1 more"
    assert in_short(rows[:3]) == "a 1 / 1.5, b 2 / not recorded, c d 3 / not recorded"
