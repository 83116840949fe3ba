"""The operating curves' engine says what the product says of the same requests: late bets, thresholds and gates included."""

import numpy as np
import pytest

from canary.stats.counts import Ledger
from canary.stats.restarts import log_shares, restarted_log_e
from canary.stats.restarts import running as running_sums
from canary.stats.weigh import weigh
from tests.bench.stats.draws import CONNECT_US, EQUAL, Change, Run, draw, fixed, ramp
from tests.bench.stats.late import restarted
from tests.bench.stats.ours import LATENCIES, engine_of, looks
from tests.bench.stats.rules import ERROR_METRICS, Case
from tests.support.scorings import a_horizon, a_segment
from tests.support.streams import EPOCH_US, Answers, Stream, stream_rows


def stream_of(run: Run) -> Stream:
    answers = Answers.of(age_us=run.latency_us + CONNECT_US, latency_us=run.latency_us, failed=run.failed)
    return Stream(start_us=EPOCH_US + np.arange(run.n) * 10_000, candidate=run.candidate, answers=answers)


@pytest.mark.parametrize("change", [EQUAL, Change(name="worse", errors=0.02, slower=1.3)], ids=lambda change: change.name)
def test_whole_runs_are_weighed_as_the_product_weighs_them(change: Change) -> None:
    """On a ramp through four segments and four minutes."""
    case = Case(run=draw(3, ramp(20_000), change, metrics=("latency",)), seed=3)
    scoring, stream, segments, ledger = case.engine.shipped.scoring, stream_of(case.run), [], Ledger()
    for stage, (weight_bp, part) in enumerate(case.run.schedule.parts()):
        ledger.add(stream_rows(scoring, stream.part(part), segment=10 + stage, journal=f"j{stage}"))
        segments.append(a_segment(id=10 + stage, stage=stage, weight_bp=weight_bp))
    horizons = [a_horizon(EPOCH_US + 10**9, journal=f"j{stage}") for stage in range(4)]
    evidence = weigh(ledger.settled(horizons, scoring), scoring, segments, stage=0)
    said = {row.metric: row for row in evidence.metrics}
    for name in (*ERROR_METRICS, "latency"):
        assert case.shipped_path(name)[-1] == pytest.approx(said[name].log_e_rollback, rel=1e-9), name
    for name in LATENCIES:
        assert case.gate_path(name)[-1] == pytest.approx(said[name].log_e_promote, rel=1e-9), name
    assert case.gate_path("errors")[-1] == pytest.approx(said["error_timeout"].log_e_promote, rel=1e-9)


def test_late_bets_are_dropped_when_their_minute_is() -> None:
    """130 blocks of 600 requests, of which the last 120 are kept."""
    each, step = 600, 200
    run = draw(5, fixed(500, 130 * each), EQUAL, metrics=("latency",))
    rates, at = engine_of(5).shipped, looks(run.n, step)
    parts, combine = rates.side(rates.paths(run, at)[0], [f"{name}.rollback" for name in LATENCIES])
    path = restarted(parts, at.after, combine, per_s=each / 60)
    blocks = np.diff(parts[each // step - 1 :: each // step], axis=0, prepend=0)
    for count in (1, 70, 120, 121, 130):
        kept = blocks[max(0, count - 120) : count]
        shares = log_shares(range(count - len(kept) + 1, count + 1), whole=count <= 120)
        expected = restarted_log_e(float(combine(blocks[:count].sum(axis=0))), combine(running_sums(kept)), shares)
        assert path[count * each // step - 1] == pytest.approx(expected, rel=1e-9, abs=1e-9), count
