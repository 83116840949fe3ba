"""The demonstration's values: sample, behaviour, answers, plan, verdicts, views."""

import io
import json
import random
import statistics
from dataclasses import replace

import msgspec
import pytest
from rich.console import Console

from canary.config.load import load
from canary.demo import chat, plan
from canary.demo.admin import Seen, SegmentSeen
from canary.demo.behaviour import BAD, BROKEN, FAILURE_S, GOOD, Behaviour, draw
from canary.demo.children import free_ports, own_environment, ports_of, tail
from canary.demo.sample import P50_S, P99_S, SLOWEST_S, Sample
from canary.demo.scene import Scene, Verdict, verdict_of
from canary.demo.screen import Screen, bar
from canary.demo.screen import draw as draw_scene
from canary.demo.tally import Tally, rate
from canary.demo.view import JsonLines, Lines
from canary.stats.evidence import Evidence, MetricEvidence

SAMPLE = Sample.load()
GOOD_ONE, BAD_ONE, BREAKING = plan.CANDIDATES


def latencies(behaviour: Behaviour, n: int = 20_000) -> list[float]:
    """Sorted seconds of answers that did not fail."""
    chance = random.Random(1)
    answers = [draw(behaviour, SAMPLE, SAMPLE.calls[i % len(SAMPLE.calls)].out_tok, chance) for i in range(n)]
    return sorted(a.latency_s for a in answers if not a.failed)


def test_latencies_have_the_stated_median_and_tail() -> None:
    found = latencies(GOOD)
    assert found[len(found) // 2] == pytest.approx(P50_S, rel=0.1)
    assert found[int(len(found) * 0.99)] == pytest.approx(P99_S, rel=0.15)
    assert found[-1] <= SLOWEST_S < plan.ANSWER_S


def test_arrivals_keep_the_stated_rate_in_every_second() -> None:
    at_s, counts = 0.0, [0] * 40
    for gap_s in SAMPLE.gaps(plan.RATE) * 10:
        if at_s < 40:
            counts[int(at_s)] += 1
        at_s += gap_s
    assert min(counts) >= 300
    assert max(counts) <= 400
    assert statistics.mean(counts) == pytest.approx(plan.RATE, rel=0.01)


def test_a_bad_model_fails_and_has_a_longer_tail() -> None:
    good, bad = latencies(GOOD), latencies(BAD)
    assert bad[len(bad) // 20] == pytest.approx(good[len(good) // 20], rel=0.2)  # the fast ones are as fast
    assert bad[int(len(bad) * 0.95)] == pytest.approx(2 * good[int(len(good) * 0.95)], rel=0.1)


@pytest.mark.parametrize(("behaviour", "share"), [(GOOD, 0.005), (BAD, 0.08), (BROKEN, 0.15), (GOOD.with_errors(0.5), 0.5)])
def test_models_fail_as_often_as_they_say_and_fast(behaviour: Behaviour, share: float) -> None:
    chance = random.Random(2)
    failed = [a for a in (draw(behaviour, SAMPLE, 100, chance) for _ in range(20_000)) if a.failed]
    assert len(failed) / 20_000 == pytest.approx(share, rel=0.3)
    assert all(a.latency_s < 2 * FAILURE_S for a in failed)


def test_longer_answers_take_longer() -> None:
    timing = SAMPLE.timings[0]
    assert SAMPLE.scale.latency_s(timing, 10) < SAMPLE.scale.latency_s(timing, 300)


def test_a_streamed_answer_adds_up_to_the_plain_one() -> None:
    request = chat.ChatRequest(model="m", max_tokens=50, stream=True)
    plain = json.loads(chat.completion(request, 7))
    events = b"".join(chat.chunks(request, 7)).decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    parsed = [json.loads(e.removeprefix("data: ")) for e in events[:-2]]
    text = "".join(p["choices"][0]["delta"].get("content", "") for p in parsed)
    assert text == plain["choices"][0]["message"]["content"]
    assert parsed[-1]["usage"] == plain["usage"] == {"prompt_tokens": 7, "completion_tokens": 50, "total_tokens": 57}
    assert len(parsed) <= chat.MAX_CHUNKS + 1


@pytest.mark.parametrize("tokens", [1, 8, 9, 500])
def test_no_streamed_answer_is_without_chunks(tokens: int) -> None:
    assert len(chat.chunks(chat.ChatRequest(max_tokens=tokens), 1)) >= 2


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"max_tokens": "x"}'])
def test_what_is_no_request_is_none(body: bytes) -> None:
    assert chat.parse(body) is None


def test_the_file_of_the_demonstration_says_its_plan() -> None:
    text = plan.config_text(data_port=1, admin_port=2, sidecar_port=3, upstreams={"v1": 11, "v2": 12, "v3": 13, "v4": 14})
    file = load(text, path="canary.yaml", env={})
    assert file.config.plan(plan.PLAN_NAME) == plan.PLAN
    assert file.config.routes[0].deadlines.answer_s == plan.ANSWER_S
    assert {c.version for c in plan.CANDIDATES} | {plan.STABLE} == {v.name for v in file.config.routes[0].versions}
    assert file.config.answering.arm
    assert plan.PLAN.problems() == []


def test_the_opening_states_the_numbers() -> None:
    said = "\n".join(plan.opening())
    for number in ("350 requests", "1,500", "100 pairs", "400 pairs", "20%", "50%", "0.005", "2x + 3pp", "+50%", "+100%"):
        assert number in said


def seen(phase: str, *stages: int, pairs: int = 0) -> Seen:
    """A rollout that ended like that."""
    evidence = Evidence(
        metrics=(),
        sample_ratio_log_e=0.0,
        sample_ratio_broken=False,
        assigned_candidate=0,
        assigned_stable=0,
        pairs=pairs,
        stage_settled_s=0.0,
        newest_tick_age_s=0.1,
        as_of_us=1,
    )
    return Seen(id="r", phase=phase, because="so", segments=[SegmentSeen(stage=s) for s in stages], evidence=evidence)


@pytest.mark.parametrize(
    ("candidate", "ended", "served", "broke_s", "right"),
    [
        (GOOD_ONE, seen("done", -1, 0, 1), 900, None, True),
        (GOOD_ONE, seen("rolled_back", -1), 0, None, False),
        (GOOD_ONE, seen("canarying", -1, 0), 10, None, False),
        (BAD_ONE, seen("rolled_back", -1), 0, None, True),
        (BAD_ONE, seen("rolled_back", -1, 0), 9, None, False),
        (BAD_ONE, seen("rolled_back", -1), 1, None, False),
        (BAD_ONE, seen("done", -1, 0, 1), 900, None, False),
        (BREAKING, seen("rolled_back", -1, 0), 400, 20.0, True),
        (BREAKING, seen("rolled_back", -1), 0, None, False),
        (BREAKING, seen("rolled_back", -1, 0), 400, None, False),
    ],
)
def test_verdicts_are_right_only_where_the_story_says_so(
    candidate: plan.Candidate, ended: Seen, served: int, broke_s: float | None, right: bool
) -> None:
    tally = Tally(on_trial={"v1": 99, candidate.version: served}, on_trial_harmed={"v1": 7, candidate.version: 2})
    verdict = verdict_of(candidate, ended, took_s=25.0, tally=tally, broke_s=broke_s)
    assert verdict.right is right
    assert verdict.served == served
    assert verdict.harmed == 2


def a_verdict(**fields: object) -> Verdict:
    """The good one's."""
    usual: dict[str, object] = {"candidate": "v2", "says": "good", "phase": "done", "right": True, "because": "16 gates passed"}
    usual |= {"took_s": 31.4, "pairs": 1_234, "served": 5_678, "harmed": 9}
    return Verdict(**(usual | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "headline"),
    [
        ({}, "promoted after 31 s"),
        ({"phase": "rolled_back", "served": 0}, "stopped in its shadow after 31 s"),
        ({"phase": "rolled_back", "seconds_after_break": 4.94}, "rolled back after 31 s, 4.9 s after it broke"),
        ({"phase": "canarying"}, "canarying after 31 s"),
    ],
)
def test_headlines(fields: dict[str, object], headline: str) -> None:
    assert a_verdict(**fields).headline == headline


def test_lines_hold_the_verdicts_with_numbers_and_the_console() -> None:
    out = io.StringIO()
    view = Lines(out)
    view.opening(["plan"])
    view.event("v2", "1.0 s  started")
    view.closing([a_verdict(), a_verdict(right=False)], "http://127.0.0.1:8081", stays=True)
    text = out.getvalue()
    assert "1 of 2 verdicts as expected" in text
    assert "1,234 pairs; clients got 5,678 of its answers, 9 of them failed" in text
    assert "16 gates passed" in text
    assert "http://127.0.0.1:8081" in text
    assert "not what was expected" in text


def test_json_lines_end_with_the_verdicts() -> None:
    out = io.StringIO()
    view = JsonLines(out)
    view.note("starting models")
    view.closing([a_verdict()], "http://127.0.0.1:8081", stays=False)
    last = json.loads(out.getvalue().splitlines()[-1])
    assert last["right"] is True
    assert last["verdicts"][0]["candidate"] == "v2"
    assert last["verdicts"][0]["pairs"] == 1_234


def test_the_screen_shows_phase_rate_evidence_and_harm() -> None:
    metric = MetricEvidence(
        metric="error",
        n_candidate=100,
        n_stable=400,
        bad_candidate=15,
        bad_stable=2,
        log_e_rollback=3.0,
        need_rollback=6.0,
        log_e_promote=None,
        need_promote=None,
    )
    evidence = msgspec.structs.replace(seen("canarying", -1, 0).evidence, metrics=(metric,))
    now = Seen(id="r", phase="canarying", weight_bp=2_000, because="too young: 2 s of 5 s settled", evidence=evidence)
    scene = Scene(
        act=1,
        candidate=GOOD_ONE,
        elapsed_s=12.5,
        seen=now,
        rate=348.7,
        tally=Tally(),
        harmed=7,
        events=("1.0 s  began",),
    )
    out = io.StringIO()
    screen = Screen(Console(file=out, force_terminal=True, width=140))
    screen.scene(scene)
    screen.scene(replace(scene, seen=replace_phase(now, "rolled_back")))
    screen.verdict(a_verdict())
    text = out.getvalue()
    for part in (
        "v2",
        "349 requests/s",
        "weight 20 %",
        "candidate: 7",
        "15/100",
        "50%",
        "too young",
        "1.0 s  began",
        "rolled back",
    ):
        assert part in text


def test_a_narrow_terminal_gets_numbers_in_place_of_bars_and_as_many_events_as_fit() -> None:
    metric = MetricEvidence(
        metric="shadow_error",
        n_candidate=1_670,
        n_stable=4_280,
        bad_candidate=150,
        bad_stable=20,
        pairs=1_290,
        pairs_worse=74,
        pairs_better=77,
        log_e_rollback=3.0,
        need_rollback=6.0,
        log_e_promote=1.0,
        need_promote=4.0,
    )
    evidence = msgspec.structs.replace(seen("canarying", -1, 0).evidence, metrics=(metric,) * 10)
    now = Seen(id="r", phase="canarying", weight_bp=2_000, because="too young", evidence=evidence)
    events = tuple(f"{n}.0 s  event" for n in range(6))
    scene = Scene(act=1, candidate=GOOD_ONE, elapsed_s=12.5, seen=now, rate=348.7, tally=Tally(), harmed=7, events=events)
    for width, height in ((60, 24), (140, 50)):
        out = io.StringIO()
        Console(file=out, width=width, height=height).print(draw_scene(scene, height=height))
        lines = out.getvalue().splitlines()
        assert len(lines) < height
        assert lines[-2].strip() == "5.0 s  event", "the newest is never cut"
        row = next(line.split() for line in lines if "150/1670" in line)
        assert row[:4] == ["shadow", "error", "150/1670", "20/4280"]
        assert row[-2:] == (["50%", "25%"] if width == 60 else ["████··············", "25%"])


def replace_phase(now: Seen, phase: str) -> Seen:
    """The same in another phase."""
    return msgspec.structs.replace(now, phase=phase)


@pytest.mark.parametrize(
    ("log_e", "need", "shown"),
    [(None, 3.0, ""), (1.0, None, ""), (-4.0, 3.0, "0%"), (1.5, 3.0, "50%"), (9.0, 3.0, "100%")],
)
def test_bars(log_e: float | None, need: float | None, shown: str) -> None:
    assert bar(log_e, need).rpartition(" ")[2] == shown


def test_rates_come_from_two_readings() -> None:
    assert rate(Tally(sent=100, elapsed_s=1.0), Tally(sent=450, elapsed_s=2.0)) == 350.0
    assert rate(Tally(), Tally()) == 0.0


def test_a_tally_counts_harm_by_version_on_trial() -> None:
    tally = Tally(in_flight=4)
    tally.ended(ok=True, trial="v2")
    tally.ended(ok=False, trial="v2")
    tally.ended(ok=True, trial="v3")
    tally.ended(ok=False)
    assert tally == Tally(answered=2, harmed=2, on_trial={"v2": 2, "v3": 1}, on_trial_harmed={"v2": 1})


def test_the_shells_own_database_is_left_alone() -> None:
    assert own_environment({"PATH": "/bin", "DATABASE_URL": "postgresql://prod"}) == {"PATH": "/bin"}


def test_ports_are_free_and_different() -> None:
    ports = free_ports((0, 0, 0))
    assert len(set(ports)) == 3


def test_ports_and_tails() -> None:
    assert ports_of(b'{"v1": 7}\n') == {"v1": 7}
    from pathlib import Path

    assert tail(Path("/nowhere/at/all")) == "(no log)"
