"""First events of units: which frames tell one, when, and that no death of a courier loses or invents one."""

import random
from pathlib import Path

import msgspec
import pytest

from canary.courier.first_events import MOST_UNITS, UnitEvents
from canary.courier.known import Known, SegmentFacts, learn
from canary.stats.diversity import bin_of_answer
from canary.stats.facts import Fact
from canary.stats.freezing import freeze
from canary.stats.unit_events import BLOCK_US
from canary.store.frames import Frame, Open
from canary.store.rows import RecordBatch
from canary.terms import Arm, Measures, MirrorDrop
from tests.support.courier import Surroundings, a_plan_in_force, a_rollout, a_sticky_rollout
from tests.support.frames import T0_US, a_live, a_pair, a_side, a_tick, a_writer, an_id, an_open, the_journal, write
from tests.support.scorings import a_profile, a_spec

SECOND_US = 1_000_000
STATE = a_sticky_rollout()
SEGMENT: SegmentFacts = learn(Known(), None, states=[STATE], revision=1).segments[7]
AGE_S = 3.0
"""The timeout's age: 2 s and one more."""

WELL = Fact(age_us=20_000, latency_us=20_000, failed=False, left=False)
BAD = Fact(age_us=20_000, latency_us=20_000, failed=True, left=False)
SLOW = Fact(age_us=2_000_000, latency_us=2_000_000, failed=False, left=False)
LATE = Fact(age_us=4_000_000, latency_us=4_000_000, failed=False, left=False)


def opened(units: UnitEvents, user: str = "ada", *, at_s: float = 0.0, arm: Arm = Arm.STABLE, mirrored: bool = False) -> bytes:
    frame = an_open(arm=arm, mirrored=mirrored, start_at_us=T0_US + round(at_s * 1e6), unit_hash=user.encode().ljust(8))
    units.opened(frame, SEGMENT)
    return frame.exchange_id


def told(units: UnitEvents) -> list[tuple[str, str, float, Arm]]:
    """(metric, user, start in seconds, arm), units' first requests and the first failures of each block left out."""
    rows = [row for row in units.take() if not row.metric.startswith(("unit:", "error@"))]
    return [(row.metric, row.unit_hash.decode().strip(), (row.start_at_us - T0_US) / 1e6, row.arm) for row in rows]


def test_a_users_first_request_of_a_segment_is_told_once() -> None:
    units = UnitEvents()
    for user in ("ada", "bob", "ada"):
        opened(units, user)
    rows = units.take()
    assert [(row.metric, row.segment, row.rollout) for row in rows] == [("unit:7", 7, "r1")] * 2
    assert [row.unit_hash.strip() for row in rows] == [b"ada", b"bob"]


@pytest.mark.parametrize("arm", [Arm.CANDIDATE, Arm.STABLE])
def test_a_failure_is_an_event_and_a_good_answer_is_none(arm: Arm) -> None:
    units = UnitEvents()
    units.ended(opened(units, "ada", arm=arm), WELL, copied=False)
    units.ended(opened(units, "bob", arm=arm), BAD, copied=False)
    assert told(units) == [("error", "bob", 0.0, arm)]


def test_only_a_users_first_failure_is_told_and_an_earlier_one_replaces_it() -> None:
    units = UnitEvents()
    early = opened(units, at_s=1)
    units.ended(opened(units, at_s=2), BAD, copied=False)
    units.ended(opened(units, at_s=3), BAD, copied=False)
    assert told(units) == [("error", "ada", 2.0, Arm.STABLE)]
    units.ended(early, BAD, copied=False)
    assert told(units) == [("error", "ada", 1.0, Arm.STABLE)]


def test_the_first_failure_of_each_ten_minutes_is_told_beside_the_first_of_all() -> None:
    units = UnitEvents()
    for at_s in (1, 2, 700, 701, 1_300):
        units.ended(opened(units, at_s=at_s), BAD, copied=False)
    opened(units, "bob", at_s=1_400)
    units.tick(T0_US + 1_410 * SECOND_US)
    opened(units, "cleo", arm=Arm.CANDIDATE, at_s=2_000)
    units.lost()
    first = T0_US // BLOCK_US
    late = [row for row in units.take() if row.metric.startswith("error@")]
    assert [(row.unit_hash.strip(), row.metric, (row.start_at_us - T0_US) // SECOND_US) for row in late] == [
        (b"ada", f"error@{first}", 1),
        (b"ada", f"error@{first + 1}", 700),
        (b"ada", f"error@{first + 2}", 1_300),
        (b"bob", f"error@{first + 2}", 1_400),
        (b"cleo", f"error@{(T0_US + 2_000 * SECOND_US) // BLOCK_US}", 2_000),
    ]


ANSWERS = freeze(a_profile(), a_spec(sticky=True, measures=Measures(diversity="body"), answer_key=b"k"))


def asked(units: UnitEvents, user: str, *, at_s: float = 0.0) -> bytes:
    """A request where the diversity of answers is guarded."""
    frame = an_open(arm=Arm.STABLE, mirrored=False, start_at_us=T0_US + round(at_s * 1e6), unit_hash=user.encode().ljust(8))
    units.opened(frame, msgspec.structs.replace(SEGMENT, scoring=ANSWERS))
    return frame.exchange_id


def answers_of(units: UnitEvents) -> list[tuple[str, bytes]]:
    return [(row.metric, row.unit_hash.strip()) for row in units.take() if row.metric.startswith("said:")]


def test_the_answer_to_a_users_first_request_of_a_segment_is_told_and_no_other() -> None:
    units, yes = UnitEvents(), msgspec.structs.replace(WELL, answer=b"yes")
    first, second = asked(units, "ada"), asked(units, "ada", at_s=1)
    assert (units.asks(first), units.asks(second)) == (True, False)
    units.said(second, yes)
    assert answers_of(units) == []
    units.said(first, yes)
    units.said(first, yes)
    assert answers_of(units) == [(f"said:7:{bin_of_answer(b'k', b'yes')}", b"ada")]


def test_a_first_request_without_a_whole_answer_by_the_age_is_told_as_silence() -> None:
    units = UnitEvents()
    asked(units, "ada")
    units.tick(T0_US + ANSWERS.pair_age_us + 999_999)
    assert answers_of(units) == []
    units.tick(T0_US + ANSWERS.pair_age_us + 1_000_000)
    assert answers_of(units) == [("said:7:256", b"ada")]
    asked(units, "bob")
    units.lost()
    assert answers_of(units) == [("said:7:256", b"bob")]


def test_where_answers_are_not_compared_none_is_told() -> None:
    units = UnitEvents()
    exchange = opened(units)
    assert not units.asks(exchange)
    units.tick(T0_US + 100 * SECOND_US)
    assert answers_of(units) == []


def test_what_is_open_at_the_age_speaks_for_stable_alone() -> None:
    """Brackets: the candidate ended badly by the age, stable did not end well by it."""
    units = UnitEvents()
    stable, candidate = opened(units, "ada"), opened(units, "bob", arm=Arm.CANDIDATE)
    units.tick(T0_US + round((AGE_S + 0.9) * SECOND_US))
    assert told(units) == []
    units.tick(T0_US + round((AGE_S + 1) * SECOND_US))
    assert told(units) == [("error", "ada", 0.0, Arm.STABLE)]
    units.ended(stable, BAD, copied=False)
    units.ended(candidate, BAD, copied=False)
    assert told(units) == []  # settled: what comes later changes nothing


def test_an_end_after_the_age_before_its_tick_is_open_at_the_age() -> None:
    units = UnitEvents()
    units.ended(opened(units, "ada"), LATE, copied=False)
    units.ended(opened(units, "bob", arm=Arm.CANDIDATE), LATE, copied=False)
    assert told(units) == [("error", "ada", 0.0, Arm.STABLE)]


def test_a_dead_worker_lost_what_was_in_flight_on_either_arm() -> None:
    units = UnitEvents()
    opened(units, "ada", mirrored=True)
    opened(units, "bob", arm=Arm.CANDIDATE)
    units.lost()
    found = told(units)
    assert ("error", "ada", 0.0, Arm.STABLE) in found
    assert ("error", "bob", 0.0, Arm.CANDIDATE) in found
    assert ("pair:error", "ada", 0.0, Arm.STABLE) in found  # unknown: against the claim


@pytest.mark.parametrize(
    ("live", "shadow", "worse"),
    [
        (WELL, BAD, {"pair:error": Arm.CANDIDATE, "pair:p50": Arm.CANDIDATE, "pair:later": Arm.CANDIDATE}),
        (BAD, WELL, {"pair:error": Arm.STABLE, "pair:p50": Arm.STABLE, "pair:later": Arm.STABLE}),
        (WELL, WELL, {"pair:later": Arm.STABLE}),  # equal, and up to 3 % later is tolerated
        (WELL, SLOW, {"pair:p50": Arm.CANDIDATE, "pair:p95": Arm.CANDIDATE, "pair:later": Arm.CANDIDATE}),
        (BAD, BAD, {}),
        (WELL, LATE, {"pair:error": Arm.STABLE, "pair:p50": Arm.STABLE, "pair:later": Arm.STABLE}),
    ],
)
def test_a_pair_tells_in_which_direction_it_is_discordant(live: Fact, shadow: Fact, worse: dict[str, Arm]) -> None:
    units = UnitEvents()
    exchange = opened(units, mirrored=True)
    units.ended(exchange, WELL, copied=True)
    units.paired(exchange, live, shadow)
    found = {metric: arm for metric, _, _, arm in told(units)}
    assert worse.items() <= found.items()
    assert found.keys() <= {*worse, "pair:p50", "pair:p95", "pair:p99"}


def test_one_discordant_pair_of_a_user_counts_whichever_way_it_went() -> None:
    units = UnitEvents()
    first, second = opened(units, at_s=1, mirrored=True), opened(units, at_s=2, mirrored=True)
    units.paired(first, BAD, WELL)
    units.paired(second, WELL, BAD)
    assert [row for row in told(units) if row[0] == "pair:error"] == [("pair:error", "ada", 1.0, Arm.STABLE)]


def test_a_copy_that_was_dropped_is_no_pair_and_one_without_an_answer_is_stables() -> None:
    units = UnitEvents()
    units.ended(opened(units, "ada", mirrored=True), WELL, copied=False)
    units.ended(opened(units, "bob", mirrored=True), WELL, copied=True)
    units.tick(T0_US + 60 * SECOND_US)
    assert {(metric, user) for metric, user, _, _ in told(units) if metric == "pair:error"} == {("pair:error", "bob")}


def test_routes_of_requests_and_requests_without_a_unit_tell_nothing() -> None:
    units = UnitEvents()
    plain = learn(Known(), None, states=[a_rollout()], revision=1).segments[7]
    units.opened(an_open(unit_hash=b"12345678"), plain)
    units.opened(an_open(), SEGMENT)
    units.opened(an_open(unit_hash=b"12345678"), None)
    units.lost()
    assert units.take() == []


def test_units_of_a_segment_are_told_up_to_a_bound() -> None:
    units = UnitEvents()
    for user in range(MOST_UNITS + 5):
        units.opened(an_open(mirrored=False, unit_hash=user.to_bytes(8, "big")), SEGMENT)
    assert len(units.take()) == MOST_UNITS


def a_story(seed: int) -> list[Frame]:
    """Twelve users of either arm for 20 s: good answers, failures, copies, answers that never come."""
    chance = random.Random(seed)
    due: list[tuple[float, Frame]] = [(second, a_tick(second)) for second in range(1, 21)]
    for _ in range(160):
        user, start_s, exchange = chance.randrange(12), chance.uniform(0, 19), an_id()
        arm = Arm.CANDIDATE if user < 5 else Arm.STABLE
        mirrored = arm is Arm.STABLE and chance.random() < 0.5
        about = {"unit_hash": user.to_bytes(8, "big"), "start_at_us": T0_US + round(start_s * 1e6), "arm": arm}
        due.append((start_s, an_open(exchange, mirrored=mirrored, **about)))
        if chance.random() < 0.1:
            continue  # it hangs
        took_s = chance.choice([0.02, 0.3, 2.0])
        side = a_side(status=500 if chance.random() < 0.2 else 200, end_us=round(took_s * 1e6), body=b"x" * 60)
        sent = mirrored and chance.random() < 0.8
        drop = MirrorDrop.SLOTS if mirrored and not sent else MirrorDrop.NONE
        live = a_live(exchange, mirror="v2" if sent else "", mirror_drop=drop, side=side, **about)
        due.append((start_s + took_s, live))
        if sent and chance.random() < 0.9:
            shadow = a_side("v2", status=500 if chance.random() < 0.2 else 200)
            due.append((start_s + took_s + chance.uniform(0, 0.5), a_pair(live, shadow)))
    about = {"unit_hash": b"the last", "start_at_us": T0_US + 19_500_000, "arm": Arm.CANDIDATE}
    due.append((19.5, an_open(mirrored=False, **about)))  # in flight when the writer dies
    return [frame for at_s, frame in sorted(due, key=lambda item: item[0]) if at_s <= 20]


class _Dead(BaseException):
    """The courier's process is gone."""


async def first_events(folder: Path, story: list[Frame], *, kills: int | None) -> dict[tuple[str, str, bytes], tuple[int, Arm]]:
    """What the store has at the end; `kills`: seed of deaths between any two steps."""
    around = Surroundings(folder, a_plan_in_force(a_sticky_rollout()))
    writer = a_writer(around.spool, segment_bytes=6_000)
    chance = random.Random(kills)

    def perhaps_dies(_batch: RecordBatch) -> None:
        if kills is not None and chance.random() < 0.3:
            raise _Dead

    around.records.before = around.records.after = perhaps_dies
    tail, journal = around.tail(the_journal(around.spool)), the_journal(around.spool)
    rest = list(story)
    while rest or not tail.finished:
        some, rest = rest[:12], rest[12:]
        write(writer, *some)
        if not rest:
            writer.close()
        for _ in range(4):
            try:
                await tail.step()
            except _Dead:
                tail = around.tail(journal)
    return {key: (row.start_at_us, row.arm) for key, row in around.records.first_events.items()}


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
async def test_no_death_of_a_courier_loses_or_invents_a_first_event(tmp_path: Path, seed: int) -> None:
    story = a_story(seed)
    whole = await first_events(tmp_path / "whole", story, kills=None)
    assert {metric for _, metric, _ in whole} >= {"error", "unit:7", "pair:error", "pair:later"}
    for kills in range(6):
        assert await first_events(tmp_path / f"killed-{kills}", story, kills=kills) == whole
    plain = plainly(story)
    assert {key[2]: found for key, found in whole.items() if key[1] == "error"} == plain


def plainly(story: list[Frame]) -> dict[bytes, tuple[int, Arm]]:
    """Each user's first failure by the definition, of a journal whose writer died at the end of the story."""
    ends = {frame.exchange_id: frame.side for frame in story if type(frame) is type(a_live())}
    found: dict[bytes, tuple[int, Arm]] = {}
    for frame in story:
        if not isinstance(frame, Open):
            continue
        side = ends.get(frame.exchange_id)
        settled = (frame.start_at_us // SECOND_US + 1) * SECOND_US + AGE_S * SECOND_US <= T0_US + 20 * SECOND_US
        lost = side is None and not settled
        bad = (side is not None and side.status == 500) or lost or (side is None and frame.arm is Arm.STABLE)
        kept = found.get(frame.unit_hash)
        if bad and (kept is None or frame.start_at_us < kept[0]):
            found[frame.unit_hash] = (frame.start_at_us, frame.arm)
    return found
