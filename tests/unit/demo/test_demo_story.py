"""One act of the story, against an admin port that plays a script."""

import asyncio
from collections.abc import Callable

import pytest

from canary.demo import plan, story
from canary.demo.admin import Seen, SegmentSeen
from canary.demo.plan import Candidate
from canary.demo.scene import Scene, Verdict
from canary.demo.story import Act, Meter, Stage
from canary.demo.tally import Tally
from canary.errors import CanaryError

GOOD_ONE, BAD_ONE, BREAKING = plan.CANDIDATES


class ScriptedAdmin:
    """Shows one state of its script after the other, the last one for ever; None is a port that does not answer."""

    url = "http://127.0.0.1:1"

    def __init__(self, *script: Seen | None) -> None:
        self.script = list(script)
        self.created: list[tuple[str, str, str]] = []

    async def create(self, *, route: str, candidate: str, plan: str) -> Seen:
        self.created.append((route, candidate, plan))
        return Seen(id="r1", phase="pending")

    async def look(self, rollout: str) -> Seen | None:
        assert rollout == "r1"
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


class ServedWell:
    """Never ends by itself, unless told so."""

    def __init__(self, error: CanaryError | None = None) -> None:
        self.error = error

    def check(self) -> None:
        if self.error is not None:
            raise self.error


class Told:
    """A view that remembers."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.scenes: list[Scene] = []

    def event(self, candidate: str, line: str) -> None:
        self.events.append(f"{candidate} {line}")

    def scene(self, scene: Scene) -> None:
        self.scenes.append(scene)


def seen(phase: str, *stages: int, **fields: object) -> Seen:
    return Seen(id="r1", phase=phase, segments=[SegmentSeen(stage=s) for s in stages], **fields)  # type: ignore[arg-type]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Plays an act without its pauses; returns the verdict, what was told, and the models that were told to break."""
    monkeypatch.setattr(story, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(story, "LATEST_ANSWER_S", 0.0)
    monkeypatch.setattr(plan, "BREAKS_AFTER_S", 0.0)
    broken: list[tuple[int, float]] = []

    async def behave(session: object, port: int, *, error_rate: float) -> None:
        broken.append((port, error_rate))

    monkeypatch.setattr(story, "behave", behave)

    def run(
        candidate: Candidate, *script: Seen | None, served: ServedWell | None = None
    ) -> tuple[Verdict, Told, list[tuple[int, float]]]:
        told = Told()
        ports = {"v1": 1, "v2": 2, "v3": 3, "v4": 4}
        stage = Stage(
            admin=ScriptedAdmin(*script),  # type: ignore[arg-type]
            session=None,  # type: ignore[arg-type]
            served=served or ServedWell(),  # type: ignore[arg-type]
            traffic=None,  # type: ignore[arg-type]
            meter=Meter(),
            data_port=0,
            model_ports=ports,
            view=told,  # type: ignore[arg-type]
        )

        async def act() -> Verdict:
            return await Act(stage, candidate, number=1, verdicts=()).play()

        return asyncio.run(act()), told, broken

    return run


def test_a_promotion_is_followed_to_its_end(play: Callable[..., object]) -> None:
    verdict, told, broken = play(  # type: ignore[misc]
        GOOD_ONE,
        seen("pending", waiting="profile 3/1500", because="waiting: profile 3/1500"),
        None,
        seen("shadowing", -1, because="started"),
        seen("canarying", -1, 0, weight_bp=2_000, because="advanced to 20 %"),
        seen("canarying", -1, 0, weight_bp=2_000, because="too young: 2 s"),
        seen("done", -1, 0, 1, because="promoted v2"),
    )
    assert verdict.right
    assert verdict.because == "promoted v2"
    assert not broken
    said = [event.split("  ", 2)[-1] for event in told.events]
    assert said == ["waiting: profile 3/1500", "started", "advanced to 20 %", "promoted v2"]
    assert told.scenes[-1].events[-1].endswith("promoted v2")


def test_the_third_candidate_breaks_once_its_first_stage_is_open(play: Callable[..., object]) -> None:
    shadow, live = seen("shadowing", -1), seen("canarying", -1, 0, weight_bp=2_000)
    verdict, told, broken = play(BREAKING, shadow, shadow, live, live, live, seen("rolled_back", -1, 0, because="errors"))  # type: ignore[misc]
    assert broken == [(4, 0.15)]
    assert verdict.right
    assert verdict.seconds_after_break is not None
    assert any("v4 breaks now: 15% of its answers fail" in event for event in told.events)


def test_a_candidate_that_never_goes_live_is_not_broken(play: Callable[..., object]) -> None:
    verdict, _, broken = play(BREAKING, seen("shadowing", -1), seen("rolled_back", -1))  # type: ignore[misc]
    assert not broken
    assert not verdict.right


def test_an_act_without_an_end_is_a_wrong_verdict(play: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story, "ACT_WITHIN_S", 0.05)
    verdict, _, _ = play(GOOD_ONE, seen("canarying", -1, 0))  # type: ignore[misc]
    assert verdict.phase == "canarying"
    assert not verdict.right


def test_a_product_that_ends_by_itself_ends_the_story(play: Callable[..., object]) -> None:
    with pytest.raises(CanaryError, match="canary serve ended"):
        play(GOOD_ONE, seen("pending"), served=ServedWell(CanaryError("canary serve ended with code 1")))


async def test_the_meter_knows_the_rate_of_late() -> None:
    class Pipe:
        lines = [b'{"sent": 0, "elapsed_s": 0.0}', b'{"sent": 700, "elapsed_s": 2.0, "harmed": 3}']

        async def line(self) -> bytes:
            if not self.lines:
                raise CanaryError("ended")
            return self.lines.pop(0)

    meter = Meter()
    with pytest.raises(CanaryError):
        await meter.read(Pipe())  # type: ignore[arg-type]
    assert meter.now == Tally(sent=700, elapsed_s=2.0, harmed=3)
    assert meter.rate == 350.0
