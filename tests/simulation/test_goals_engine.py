"""The operating curves' engine says what the product says: the same counts and the same e-values, at any look."""

import math

import numpy as np
import pytest

from canary.stats.counts import Ledger
from canary.stats.restarts import restarted_log_e
from canary.stats.weigh import weigh
from tests.bench.stats.draws import CONNECT_US, EQUAL, Change, Run, draw, fixed, ramp
from tests.bench.stats.late import restarted
from tests.bench.stats.ours import LATENCIES, Rates, engine_of, looks
from tests.support.scorings import a_horizon, a_segment
from tests.support.streams import EPOCH_US, Answers, Stream, stream_rows


def stream_of(run: Run) -> Stream:
    answers = Answers.of(age_us=run.latency_us + CONNECT_US, latency_us=run.latency_us, failed=run.failed)
    return Stream(start_us=EPOCH_US + np.arange(run.n) * 10_000, candidate=run.candidate, answers=answers)


@pytest.mark.parametrize("change", [EQUAL, Change(name="worse", errors=0.02, slower=1.3)])
def test_whole_runs_are_weighed_as_the_product_weighs_them(change: Change) -> None:
    run = draw(3, ramp(8_000), change, metrics=("latency",))
    rates: Rates = engine_of(3).shipped
    parts, _ = rates.paths(run, looks(run.n))
    stream, segments, ledger = stream_of(run), [], Ledger()
    for stage, (weight_bp, part) in enumerate(run.schedule.parts()):
        ledger.add(stream_rows(rates.scoring, stream.part(part), segment=10 + stage, journal=f"j{stage}"))
        segments.append(a_segment(id=10 + stage, stage=stage, weight_bp=weight_bp))
    horizons = [a_horizon(EPOCH_US + 10**12, journal=f"j{stage}") for stage in range(4)]
    evidence = weigh(ledger.settled(horizons, rates.scoring), rates.scoring, segments, stage=0)
    said = {row.metric: row for row in evidence.metrics}
    for name in LATENCIES:
        assert rates.one(parts, f"{name}.promote.1")[-1] == pytest.approx(said[name].log_e_promote, rel=1e-9)
    assert rates.one(parts, "error.promote.1")[-1] == pytest.approx(said["error_timeout"].log_e_promote, rel=1e-9)


@pytest.mark.parametrize("each", [600, 6_000])
def test_restarts_of_a_whole_run_are_those_of_the_product(each: int) -> None:
    """Of 130 blocks the first starts are stopped."""
    run = draw(5, fixed(500, 130 * each if each == 600 else 3 * each), EQUAL, metrics=("latency",))
    rates, at = engine_of(5).shipped, looks(run.n, 200)
    parts, combine = rates.side(rates.paths(run, at)[0], [f"{name}.rollback" for name in LATENCIES])
    path = restarted(parts, at.after, combine, per_s=each / 60)
    for place in (0, len(path) // 3, len(path) - 1):
        blocks = {}
        for block in range((int(at.after[place]) - 1) // each + 1):
            until = min((block + 1) * each, int(at.after[place]))
            before = parts[block * each // 200 - 1] if block else 0.0
            blocks[block] = parts[until // 200 - 1] - before
        expected = restarted_log_e(blocks, combine, first=0, components=parts.shape[1])
        assert path[place] == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert math.isfinite(path.min())
