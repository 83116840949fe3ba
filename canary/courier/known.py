"""What folding needs to know of the plan: which segment belongs to which rollout, and what a route records."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from canary.observe.values import Reader, reader_of
from canary.ports import Published
from canary.rollout.calibration import real_route
from canary.rollout.state import RolloutState
from canary.split.spec import RouteSpec
from canary.stats.scoring import Scoring
from canary.terms import Measures, RouteKind, Scored

OFF: Final = "off"
MOST_SEGMENTS: Final = 1_000
"""Kept in mind at a time, those of rollouts that are over included."""

NOTHING_MEASURED: Final = reader_of(Measures())


class SegmentFacts(msgspec.Struct, frozen=True):
    """One segment; `scoring` is None where its exchanges are recorded and not counted."""

    rollout: str
    route: str
    stable: str
    candidate: str
    scoring: Scoring | None
    timeout_us: int  # answer timeout: no outcome counts later
    weight_bp: int = 0  # 0: no coin is tossed
    reader: Reader = NOTHING_MEASURED  # of what was measured when the rollout was created


class RouteFacts(msgspec.Struct, frozen=True):
    """What is recorded of a route."""

    kind: RouteKind = RouteKind.HTTP
    full_bodies: bool = False
    keep_us: int = 0
    reader: Reader = NOTHING_MEASURED


class PseudoArms(msgspec.Struct, frozen=True):
    """An open round of calibration: which of stable's answers it deals out, and by which coin."""

    segment: int
    stable: str
    salt: bytes
    facts: SegmentFacts


class Known(msgspec.Struct, frozen=True):
    """Grows with each reading of the plan, up to a bound: what was once known stays, ended rollouts included."""

    revision: int = -1
    routes: Mapping[str, RouteFacts] = {}
    hashes: Mapping[tuple[str, str], str] = {}  # (route, version name) -> version hash
    segments: Mapping[int, SegmentFacts] = {}
    calibrations: Mapping[str, PseudoArms] = {}  # by route; only open rounds, as of the last reading


UNKNOWN_ROUTE: Final = RouteFacts()


def learn(known: Known, published: Published | None, *, states: Iterable[RolloutState], revision: int) -> Known:
    """What is known after a reading of the plan; its routes are those of the last file, its segments grow."""
    routes, hashes, segments = dict(known.routes), dict(known.hashes), dict(known.segments)
    for route in published.config.routes if published else ():
        routes[route.name] = _route_facts(route)
        hashes.update({(route.name, version.name): version.hash for version in route.versions})
    found = {number: facts for state in states for number, facts in _segment_facts(state).items()}
    if len(segments) + len(found) > MOST_SEGMENTS:  # the newest stay: an older one is read again where a frame names it
        segments = dict(sorted(segments.items())[-MOST_SEGMENTS // 2 :])
    # What says the same stays the same object: what is worked out of a scoring is found again by identity, else by
    # comparing all of it with every answer.
    segments |= {number: facts for number, facts in found.items() if segments.get(number) != facts}
    return Known(revision=revision, routes=routes, hashes=hashes, segments=segments, calibrations=known.calibrations)


def calibrating(known: Known, rounds: Iterable[RolloutState]) -> Known:
    """With the rounds of calibration that are open now; their segments are in no frame, so none is learnt."""
    found = {}
    for state in rounds:
        route = real_route(state)
        for segment, facts in _segment_facts(state).items():
            arms, before = PseudoArms(segment, state.stable, state.salt, facts), known.calibrations.get(route)
            found[route] = before if before is not None and before == arms else arms
    return msgspec.structs.replace(known, calibrations=found)


def _route_facts(route: RouteSpec) -> RouteFacts:
    return RouteFacts(
        kind=route.kind,
        full_bodies=route.record.bodies != OFF,
        keep_us=route.record.keep_days * 86_400_000_000,
        reader=reader_of(route.measures),
    )


def _segment_facts(state: RolloutState) -> dict[int, SegmentFacts]:
    reader = reader_of(state.measures)
    return {
        segment.id: SegmentFacts(
            rollout=state.id,
            route=state.route,
            stable=state.stable,
            candidate=state.candidate,
            scoring=None if segment.scored is Scored.NONE else state.scoring,
            timeout_us=int(state.answer_timeout_s * 1e6),
            weight_bp=segment.weight_bp,
            reader=reader,
        )
        for segment in state.segments
    }
