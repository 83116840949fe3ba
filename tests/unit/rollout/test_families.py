"""One e-value of each rollout, and which of many are called worse."""

import math

import pytest

from canary.rollout.families import fleet_summary, rollout_log_e
from canary.terms import Phase
from tests.support.rollouts import a_metric, a_state, an_evidence


def with_share(metric: str, share: float, log_e: float) -> object:
    return a_metric(metric, log_e_rollback=log_e, need_rollback=-math.log(0.05 * share))


def test_a_rollouts_e_value_is_the_average_of_its_metrics_by_their_shares() -> None:
    evidence = an_evidence(with_share("error", 0.75, math.log(8.0)), with_share("p95", 0.25, 0.0))  # type: ignore[arg-type]
    assert math.exp(rollout_log_e(evidence) or 0.0) == pytest.approx(0.75 * 8 + 0.25)


def test_what_abstains_has_no_part_and_nothing_said_is_no_e_value() -> None:
    silent = with_share("error", 0.75, 50.0)
    evidence = an_evidence(a_metric("error", abstains="x", log_e_rollback=50.0), with_share("p95", 0.25, 1.0))  # type: ignore[arg-type]
    assert rollout_log_e(evidence) == pytest.approx(1.0)
    assert rollout_log_e(an_evidence(silent, abstains="no scoring")) is None  # type: ignore[arg-type]
    assert rollout_log_e(an_evidence(a_metric(log_e_rollback=None, need_rollback=None))) is None


def test_among_many_the_bar_is_higher_and_it_falls_with_what_is_found() -> None:
    def found(*log_e: float) -> set[str]:
        states = [a_state(Phase.CANARYING, id=f"r{n}") for n in range(len(log_e))]
        looks = [an_evidence(a_metric(log_e_rollback=value)) for value in log_e]
        return {row.rollout for row in fleet_summary(zip(states, looks, strict=True)).rollouts if row.worse}

    assert found(math.log(21)) == {"r0"}
    assert found(math.log(21), 0.0, 0.0, 0.0) == set()
    assert found(math.log(81), 0.0, 0.0, 0.0) == {"r0"}
    assert found(math.log(81), math.log(41), 0.0, 0.0) == {"r0", "r1"}


def test_without_evidence_there_is_no_row() -> None:
    assert fleet_summary([(a_state(), None)]).rollouts == ()
    assert fleet_summary([]).worse == 0
