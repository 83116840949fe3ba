"""Values on their way through the courier: into counters, profiles and rows, under the measures of route and rollout."""

import json
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from canary.courier.hearing import Heard, facts_text
from canary.observe import values
from canary.observe.content import Content
from canary.observe.outcome import observe
from canary.observe.values import Reader
from canary.split.spec import RecordSpec
from canary.stats import facts
from canary.stats.cells import METRIC_SHIFT, PAIR_START, START, from_bytes
from canary.stats.diversity import bin_of_answer
from canary.stats.facts import UNTOLD, Fact
from canary.stats.freezing import freeze
from canary.stats.profile import Profile, profile_cells
from canary.stats.scoring import Scoring, ends, pair_ends, starts
from canary.stats.spec import LatencyMargin, ScoringSpec
from canary.stats.sticky_cells import plain
from canary.stats.unit_answers import said_metric
from canary.stats.values import FIRST_VALUE, value_profile_cells
from canary.store.frames import Frame, Side
from canary.store.journal import without_bodies
from canary.terms import Arm, AssignedBy, Better, Ending, Measures, MetricKind, MetricSpec
from tests.support.courier import Surroundings, a_plan_in_force, a_rollout, a_sticky_rollout, carried
from tests.support.frames import T0_US, a_live, a_pair, a_side, a_writer, an_id, an_open, the_journal, write

SCORE = MetricSpec(
    name="score",
    kind=MetricKind.MEAN,
    source="json:/usage/score",
    better=Better.HIGHER,
    cap=1.0,
    rollback_delta=0.005,
    promote_delta=0.02,
    share=0.1,
)
COST = MetricSpec(
    name="cost", kind=MetricKind.MEAN, source="header:x-cost", rollback_rho=1.02, promote_rho=1.1, share=0.1, unit="USD"
)
MEASURES = Measures(metrics=(SCORE, COST), classes=("G0", "G1"), diversity="json:/choices/0/message/content", first_byte=True)


def a_scoring(measures: Measures, *, sticky: bool = False) -> Scoring:
    """Frozen from 2,000 good answers of every class."""
    cells: Counter[int] = Counter()
    for i in range(2_000):
        reading = tuple(0.5 + i % 50 / 100 if metric.better is Better.HIGHER else 0.01 for metric in measures.metrics)
        fact = Fact(age_us=20_000 + i, latency_us=20_000 + i, failed=False, left=False, ttfb_us=9_000 + i, values=reading)
        stratum = i % (1 + len(measures.classes))
        cells.update(profile_cells(fact, stratum=stratum, first_byte=True))
        cells.update(value_profile_cells(measures, fact, stratum))
    margins = (LatencyMargin(quantile=0.95, rollback_d=0.05, promote_d=0.15),)
    spec = ScoringSpec(
        answer_timeout_s=2.0, connect_timeout_s=1.0, measures=measures, first_byte=margins, answer_key=b"k", sticky=sticky
    )
    return freeze(Profile.of(cells), spec)


def surroundings(tmp_path: Path, *, now: Measures = MEASURES, frozen: Measures = MEASURES, **route: Any) -> Surroundings:
    """A route that measures `now`, under a rollout that began when it measured `frozen`."""
    rollout = a_rollout(scoring=a_scoring(frozen), measures=frozen)
    return Surroundings(tmp_path, a_plan_in_force(rollout, measures=now, **route))


def an_answer(score: Any = 0.75, cost: str | None = "0.02", version: str = "v1", text: str = "yes", **fields: Any) -> Side:
    """A chat's answer with its score and its cost."""
    body = json.dumps({"usage": {"score": score}, "choices": [{"message": {"content": text}}]}).encode()
    headers = (("content-type", "application/json"), *((("x-cost", cost),) if cost is not None else ()))
    return a_side(version, **({"body": body, "headers": headers} | fields))


def heard(side: Side, exchange_id: bytes, *read: float | None, **changes: Any) -> Fact:
    """What the statistics should hear of a whole answer."""
    usual: dict[str, Any] = {"age_us": 20_000, "latency_us": 19_800, "failed": False, "left": False, "ttfb_us": 14_800}
    return Fact(**(usual | {"exchange_id": exchange_id, "values": read, "answer": digest(side)} | changes))


def digest(side: Side) -> bytes:
    return Reader(MEASURES).digest(Content(side), observe(side))


def counted(around: Surroundings) -> Counter[int]:
    """Cells of all minutes."""
    found: Counter[int] = Counter()
    for cells in around.records.counters.values():
        found.update(from_bytes(cells))
    return found


def of_ends(keys: Iterable[int]) -> Counter[int]:
    """Cells without those of starts, which stand in every story."""
    return Counter({key: count for key, count in Counter(keys).items() if key >> METRIC_SHIFT not in {START, PAIR_START}})


async def told(around: Surroundings, *frames: Frame) -> None:
    write(a_writer(around.spool), *frames)
    await carried(around.tail(the_journal(around.spool)))


async def test_an_answer_counts_with_all_that_is_read_of_it(tmp_path: Path) -> None:
    around = surroundings(tmp_path)
    side, exchange_id = an_answer(), an_id()
    live = a_live(exchange_id, side=side, stratum=2, mirror="", arm=Arm.CANDIDATE)
    await told(around, an_open(exchange_id, stratum=2, mirrored=False, arm=Arm.CANDIDATE), live)
    fact = heard(side, exchange_id, 0.75, 0.02)
    expected = ends(a_scoring(MEASURES), Arm.CANDIDATE, T0_US, fact, stratum=2)
    assert of_ends(counted(around).elements()) == Counter(expected)
    assert sum(key >> METRIC_SHIFT >= FIRST_VALUE for key in expected) == 5  # client error, abandoned, score, cost, digest


async def test_stables_answer_joins_the_profile_of_its_class(tmp_path: Path) -> None:
    around = surroundings(tmp_path)
    side, exchange_id = an_answer(), an_id()
    await told(around, a_live(exchange_id, side=side, stratum=1, mirror="", assigned_by=AssignedBy.DEFAULT, segment=0))
    fact = heard(side, exchange_id, 0.75, 0.02)
    expected = profile_cells(fact, stratum=1, first_byte=True) + value_profile_cells(MEASURES, fact, 1)
    ((_, cells),) = around.records.profiles.items()
    assert from_bytes(cells) == Counter(expected)


async def test_a_pair_counts_both_sides(tmp_path: Path) -> None:
    around = surroundings(tmp_path)
    mine, shadow, exchange_id = an_answer(0.75), an_answer(0.5, "0.03", "v2", "no"), an_id()
    live = a_live(exchange_id, side=mine, stratum=1)
    await told(around, an_open(exchange_id, stratum=1), live, a_pair(live, shadow))
    scoring, fact = a_scoring(MEASURES), heard(mine, exchange_id, 0.75, 0.02)
    both = pair_ends(scoring, T0_US, fact, heard(shadow, exchange_id, 0.5, 0.03), stratum=1)
    assert of_ends(counted(around).elements()) == Counter(both + ends(scoring, Arm.STABLE, T0_US, fact, stratum=1))
    (row,) = around.records.pairs
    assert json.loads(row.facts) == {"score": 0.75, "cost": 0.02}
    assert json.loads(row.shadow_facts) == {"score": 0.5, "cost": 0.03}


@pytest.mark.parametrize("carried_over", [False, True], ids=["bodies left out", "carried"])
async def test_what_a_live_frame_did_not_hold_is_read_from_its_pair(tmp_path: Path, carried_over: bool) -> None:
    around = surroundings(tmp_path)
    side, exchange_id = an_answer(), an_id()
    whole = a_live(exchange_id, side=side)
    bare = without_bodies(whole)
    await told(around, an_open(exchange_id, carried=carried_over), bare, a_pair(whole, an_answer(version="v2")))
    scoring, fact = a_scoring(MEASURES), heard(side, exchange_id, 0.75, 0.02)
    pair = pair_ends(scoring, T0_US, fact, fact)
    untold = msgspec.structs.replace(fact, values=(UNTOLD, 0.02), answer=b"")
    assert of_ends(counted(around).elements()) == Counter(pair + ends(scoring, Arm.STABLE, T0_US, untold))
    assert json.loads(around.records.pairs[0].facts) == {"score": 0.75, "cost": 0.02}
    assert json.loads(around.records.outcomes[0].facts) == {"score": "not kept", "cost": 0.02}


async def test_a_rollout_counts_what_was_measured_when_it_began(tmp_path: Path) -> None:
    now = Measures(metrics=(COST,))
    around = surroundings(tmp_path, now=now)
    side, exchange_id = an_answer(), an_id()
    await told(around, an_open(exchange_id, mirrored=False), a_live(exchange_id, side=side, mirror=""))
    fact = heard(side, exchange_id, 0.75, 0.02)
    assert of_ends(counted(around).elements()) == Counter(ends(a_scoring(MEASURES), Arm.STABLE, T0_US, fact))
    assert json.loads(around.records.outcomes[0].facts) == {"cost": 0.02}
    ((_, cells),) = around.records.profiles.items()
    assert from_bytes(cells) == Counter(
        profile_cells(fact) + value_profile_cells(now, msgspec.structs.replace(fact, values=(0.02,)))
    )


async def test_a_class_that_a_rollout_does_not_know_counts_with_all_others(tmp_path: Path) -> None:
    frozen = msgspec.structs.replace(MEASURES, classes=())
    around = surroundings(tmp_path, frozen=frozen)
    side, exchange_id = an_answer(), an_id()
    live = a_live(exchange_id, side=side, stratum=2)
    await told(around, an_open(exchange_id, stratum=2), live, a_pair(live, an_answer(version="v2")))
    scoring, fact = a_scoring(frozen), heard(side, exchange_id, 0.75, 0.02)
    expected = ends(scoring, Arm.STABLE, T0_US, fact) + pair_ends(scoring, T0_US, fact, fact)
    assert of_ends(counted(around).elements()) == Counter(expected)
    assert around.records.outcomes[0].stratum == 2


async def test_values_stand_beside_the_row_and_bodies_do_not(tmp_path: Path) -> None:
    around = surroundings(tmp_path, record=RecordSpec(bodies="off"))
    exchange_id = an_id()
    live = a_live(exchange_id, side=an_answer("lots", None))
    await told(around, an_open(exchange_id), live, a_pair(live, an_answer(version="v2")))
    assert around.records.bodies == []
    (row,), (pair,) = around.records.outcomes, around.records.pairs
    assert json.loads(row.facts) == {"score": "unreadable", "cost": None}
    assert json.loads(pair.shadow_facts) == {"score": 0.75, "cost": 0.02}


async def test_a_route_without_metrics_says_nothing(tmp_path: Path) -> None:
    around = surroundings(tmp_path, now=Measures(), frozen=Measures())
    exchange_id = an_id()
    live = a_live(exchange_id, side=an_answer())
    await told(around, an_open(exchange_id), live, a_pair(live))
    assert (around.records.outcomes[0].facts, around.records.pairs[0].facts, around.records.pairs[0].shadow_facts) == (
        "",
        "",
        "",
    )


@pytest.mark.parametrize(
    ("side", "read"),
    [
        (an_answer(float("nan")), (math.nan, 0.02)),
        (an_answer(0.5, "-0.01"), (0.5, -0.01)),
        (an_answer(0.5, "NaN"), (0.5, math.nan)),
        (an_answer(0.5, "1,5"), (0.5, math.nan)),
        (an_answer(0.5, None), (0.5, None)),
        (an_answer(None), (None, 0.02)),
        (an_answer(body=b'{"usage": {"sc', response_bytes=400, body_truncated=True), (UNTOLD, 0.02)),
    ],
    ids=["NaN", "negative", "NaN header", "comma", "no header", "no data", "cut by the cap"],
)
async def test_bad_values_are_counted_as_what_they_are(tmp_path: Path, side: Side, read: tuple[float | None, ...]) -> None:
    around = surroundings(tmp_path)
    exchange_id = an_id()
    await told(around, an_open(exchange_id, mirrored=False), a_live(exchange_id, side=side, mirror=""))
    fact = heard(side, exchange_id, *read)
    assert of_ends(counted(around).elements()) == Counter(ends(a_scoring(MEASURES), Arm.STABLE, T0_US, fact))


async def test_an_answer_cut_by_its_upstream_costs_what_it_said_and_has_no_score(tmp_path: Path) -> None:
    around = surroundings(tmp_path)
    side, exchange_id = an_answer(body=b'{"usage": {"sc', ending=Ending.CUT), an_id()
    await told(around, an_open(exchange_id, mirrored=False), a_live(exchange_id, side=side, mirror=""))
    fact = heard(side, exchange_id, None, 0.02, failed=True)
    assert fact.answer == b""
    assert of_ends(counted(around).elements()) == Counter(ends(a_scoring(MEASURES), Arm.STABLE, T0_US, fact))


async def test_of_a_sticky_units_answers_the_first_alone_is_compared_and_no_digest_is_counted(tmp_path: Path) -> None:
    scoring = a_scoring(MEASURES, sticky=True)
    around = Surroundings(tmp_path, a_plan_in_force(a_sticky_rollout(scoring=scoring, measures=MEASURES), measures=MEASURES))
    sides, unit = [an_answer(text=text) for text in ("yes", "no")], b"12345678"
    frames: list[Frame] = []
    for place, side in enumerate(sides):
        exchange_id, start = an_id(), {"start_at_us": T0_US + place, "unit_hash": unit}
        frames += [an_open(exchange_id, mirrored=False, **start), a_live(exchange_id, side=side, mirror="", **start)]
    await told(around, *frames)
    said = [row.metric for row in around.records.first_events.values() if row.metric.startswith("said:")]
    assert said == [said_metric(7, bin_of_answer(b"k", digest(sides[0])))]
    (metric,) = [metric for metric in scoring.values.metrics if metric.name == "diversity"]
    assert {plain(np.array([key]))[1].item() >> METRIC_SHIFT for key in counted(around)}.isdisjoint(
        {FIRST_VALUE + metric.number}
    )


async def test_a_lost_exchange_of_a_sticky_unit_ends_in_the_cluster_where_it_began(tmp_path: Path) -> None:
    scoring = a_scoring(MEASURES, sticky=True)
    around = Surroundings(tmp_path, a_plan_in_force(a_rollout(scoring=scoring, measures=MEASURES), measures=MEASURES))
    writer = a_writer(around.spool)
    opened = an_open(unit_hash=b"12345678", mirrored=False, stratum=1)
    write(writer, opened)
    writer.close()
    await carried(around.tail(the_journal(around.spool)))
    lost = Fact(age_us=0, latency_us=-1, failed=True, left=False, lost=True, unit_hash=b"12345678")
    expected = starts(scoring, Arm.STABLE, T0_US, stratum=1, unit_hash=b"12345678") + ends(
        scoring, Arm.STABLE, T0_US, lost, stratum=1
    )
    assert counted(around) == Counter(expected)


def test_what_nobody_can_tell_is_the_same_for_reader_and_statistics() -> None:
    assert values.UNTOLD == facts.UNTOLD


def test_all_that_is_scored_of_an_answer() -> None:
    side = an_answer(0.75, "0.02", status=404)
    heard_of = Heard(side, observe(side), exchange_id=b"e" * 16, unit_hash=b"u" * 8)
    fact = heard(side, b"e" * 16, 0.75, 0.02, unit_hash=b"u" * 8, client_error=True)
    assert heard_of.fact_with_answer(Reader(MEASURES)) == fact
    assert heard_of.fact(Reader(MEASURES)) == msgspec.structs.replace(fact, answer=b"")
    assert heard_of.fact(Reader(Measures())).values == ()  # another reader reads anew


def test_a_live_frame_says_what_it_says_by_name() -> None:
    fact = heard(an_answer(), b"x" * 16, math.nan, UNTOLD)
    assert json.loads(facts_text(Reader(MEASURES), fact)) == {"score": "unreadable", "cost": "not kept"}
