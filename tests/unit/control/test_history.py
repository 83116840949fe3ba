"""Looks kept for forecasts: bounded, by stage, aged when they are asked for."""

import pytest

from canary.control.history import Histories
from tests.support.rollouts import a_metric, an_evidence


def said(log_e: float) -> object:
    return an_evidence(a_metric(log_e_rollback=log_e, log_e_promote=2 * log_e), as_of_us=round(log_e))


def test_the_oldest_look_within_five_minutes_is_given_with_its_age() -> None:
    kept = Histories()
    for at_s in range(700):
        kept.note("r1", 0, said(float(at_s)), at_s=float(at_s))  # type: ignore[arg-type]
    past = kept.past("r1", 0, at_s=700.0)
    assert past is not None
    assert past.age_s == pytest.approx(300.0)
    assert past.rollback == {"error": 400.0}
    assert past.promote == {"error": 800.0}
    assert (past.as_of_us, past.stood_s, past.window_s) == (699, pytest.approx(1.0), 300.0)
    assert len(kept._kept["r1"]) <= 31


def test_little_traffic_has_a_longer_window_of_as_many_looks() -> None:
    kept = Histories()
    for at_s in range(0, 9_000, 10):
        kept.note("r1", 0, said(float(at_s)), at_s=float(at_s), window_s=6_000.0)  # type: ignore[arg-type]
    past = kept.past("r1", 0, at_s=9_000.0, window_s=6_000.0)
    assert past is not None
    assert (past.age_s, past.window_s) == (pytest.approx(6_000.0, abs=200.0), 6_000.0)
    assert len(kept._kept["r1"]) <= 31


def test_counters_that_stand_are_told_however_long_the_window_is() -> None:
    kept = Histories()
    for at_s in range(0, 1_000, 10):
        kept.note("r1", 0, said(float(min(at_s, 900))), at_s=float(at_s), window_s=6_000.0)  # type: ignore[arg-type]
    past = kept.past("r1", 0, at_s=1_000.0, window_s=6_000.0)
    assert past is not None
    assert (past.as_of_us, past.stood_s) == (900, pytest.approx(100.0))


def test_another_stage_has_no_past_and_the_present_look_is_none() -> None:
    kept = Histories()
    kept.note("r1", 0, said(1.0), at_s=5.0)  # type: ignore[arg-type]
    assert kept.past("r1", 0, at_s=5.0) is None
    assert kept.past("r1", 1, at_s=50.0) is None
    assert kept.past("r2", 0, at_s=50.0) is None
    kept.note("r1", 1, said(1.0), at_s=60.0)  # type: ignore[arg-type]
    assert kept.past("r1", 0, at_s=61.0) is None, "a stage that is over is forgotten"


def test_what_is_over_is_dropped() -> None:
    kept = Histories()
    kept.note("r1", 0, said(1.0), at_s=5.0)  # type: ignore[arg-type]
    kept.forget_all_but(set())
    assert kept.past("r1", 0, at_s=50.0) is None
