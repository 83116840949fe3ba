"""The two methods for sticky units as one e-value."""

import math

import pytest

from canary.stats.clustered import UNDERPOWERED, ClusterEvidence
from canary.stats.first_event import NO_STABLE_EVENT, FirstEventEvidence
from canary.stats.sticky import abstention, rollback_log_e


@pytest.mark.parametrize(
    ("first", "clustered", "e"), [(0.0, 0.0, 1.0), (math.log(39), 0.0, 20.0), (0.0, math.log(39), 20.0), (-800.0, -800.0, 0.0)]
)
def test_each_method_has_half_of_the_capital(first: float, clustered: float, e: float) -> None:
    log_e = rollback_log_e(FirstEventEvidence(log_e=first), ClusterEvidence(log_e=clustered))
    assert math.exp(log_e) == pytest.approx(e)
    assert math.isfinite(log_e)


def test_nothing_overflows() -> None:
    log_e = rollback_log_e(FirstEventEvidence(log_e=5_000.0), ClusterEvidence(log_e=-5_000.0))
    assert log_e == pytest.approx(5_000.0 - math.log(2))


def test_only_two_silences_are_one() -> None:
    first, clustered = FirstEventEvidence(abstains=NO_STABLE_EVENT), ClusterEvidence(abstains=UNDERPOWERED)
    assert abstention(first, clustered) == UNDERPOWERED
    assert abstention(FirstEventEvidence(), clustered) == abstention(first, ClusterEvidence()) == ""
