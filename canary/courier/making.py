"""Rows out of frames and outcomes."""

from typing import Final

import msgspec

from canary.courier.known import SegmentFacts
from canary.observe.outcome import LOST, Outcome
from canary.store.bodies import Bodies, pack_bodies
from canary.store.frames import Live, Open, Pair, Side
from canary.store.rows import BodyRow, OutcomeRow, PairRow
from canary.terms import Arm, AssignedBy, Ending, Fault, Lane

_json: Final = msgspec.json.Encoder().encode


def outcome_row(frame: Live, outcome: Outcome, *, rollout: str, facts: str = "") -> OutcomeRow:
    """The row of a client's answer; `facts` are its values as JSON."""
    side = frame.side
    return OutcomeRow(
        frame.exchange_id,
        frame.start_at_us,
        frame.segment,
        frame.stratum,
        frame.bucket,
        frame.weight_bp,
        side.status,
        outcome.failed,
        side.connect_us,
        side.written_us,
        side.first_byte_us,
        outcome.latency_us,
        side.end_us,
        side.attempts,
        side.request_bytes,
        side.response_bytes,
        frame.route,
        rollout,
        Lane.LIVE,
        frame.arm,
        side.version,
        frame.assigned_by,
        frame.method,
        side.ending,
        outcome.fault,
        frame.mirror,
        frame.mirror_drop,
        frame.unit_hash,
        frame.path,
        _headers(frame.request_headers),
        _headers(side.headers),
        facts,
    )


def lost_outcome_row(frame: Open, segment: SegmentFacts | None) -> OutcomeRow:
    """The row of an exchange whose worker died before its answer ended."""
    version = "" if segment is None else segment.candidate if frame.arm is Arm.CANDIDATE else segment.stable
    return OutcomeRow(
        exchange_id=frame.exchange_id,
        start_at_us=frame.start_at_us,
        segment=frame.segment,
        stratum=frame.stratum,
        bucket=0,
        weight_bp=0,
        status=0,
        failed=True,
        connect_us=-1,
        written_us=-1,
        first_byte_us=-1,
        latency_us=-1,
        end_us=0,
        attempts=0,
        request_bytes=0,
        response_bytes=0,
        route="" if segment is None else segment.route,
        rollout="" if segment is None else segment.rollout,
        lane=Lane.LIVE,
        arm=frame.arm,
        version=version,
        assigned_by=AssignedBy.HASH,
        method="",
        ending=Ending.LOST,
        fault=Fault.OWN,
    )


def pair_row(frame: Pair, live: Outcome, *, shadow: Outcome, rollout: str, facts: tuple[str, str] = ("", "")) -> PairRow:
    """The row of both answers; `facts` are the values of the live one and the shadow's as JSON."""
    same = same_body(frame.live.side, frame.shadow)
    row = _pair_row(frame.live, live, shadow=shadow, rollout=rollout, same=same, version=frame.shadow.version)
    return msgspec.structs.replace(row, facts=facts[0], shadow_facts=facts[1]) if any(facts) else row


def lost_pair_row(frame: Live, live: Outcome, *, rollout: str) -> PairRow:
    """The row of a copy that was sent and whose worker died."""
    return _pair_row(frame, live, shadow=LOST, rollout=rollout, same=None, version=frame.mirror)


def _pair_row(frame: Live, live: Outcome, *, shadow: Outcome, rollout: str, same: bool | None, version: str) -> PairRow:
    return PairRow(
        frame.exchange_id,
        frame.start_at_us,
        frame.segment,
        live.status,
        live.failed,
        live.latency_us,
        live.ttfb_us,
        live.age_us,
        live.response_bytes,
        shadow.status,
        shadow.failed,
        shadow.latency_us,
        shadow.ttfb_us,
        shadow.age_us,
        shadow.response_bytes,
        live.status == shadow.status,
        same,
        shadow.ending is Ending.LOST,
        frame.route,
        rollout,
        frame.side.version,
        version,
        live.ending,
        shadow.ending,
    )


def same_body(live: Side, shadow: Side) -> bool | None:
    """Whether both answers have the same bytes; None where one of them is not here whole."""
    if live.ending is not Ending.WHOLE or shadow.ending is not Ending.WHOLE:
        return None
    if live.response_bytes != shadow.response_bytes:
        return False
    if len(live.body) != live.response_bytes or len(shadow.body) != shadow.response_bytes:
        return None
    return live.body == shadow.body


def body_row(live: Live, pair: Pair | None, *, keep_us: int) -> BodyRow | None:
    """The bodies of an exchange, or None where none were captured."""
    side, shadow = live.side, pair.shadow if pair else None
    if not live.request_body and not side.body and not (shadow and shadow.body):
        return None
    bodies = Bodies(
        request=live.request_body,
        live=side.body,
        shadow=shadow.body if shadow else b"",
        request_truncated=live.request_body_truncated,
        live_truncated=side.body_truncated,
        shadow_truncated=shadow.body_truncated if shadow else False,
    )
    keep_until_us = live.start_at_us + keep_us
    return BodyRow(live.exchange_id, keep_until_us, live.route, pack_bodies(bodies))


def content_type(side: Side) -> str:
    """The answer's content type, lower case; empty where none was recorded."""
    for name, value in side.headers:
        if name == "content-type" or name.lower() == "content-type":
            return value.lower()
    return ""


def _headers(headers: tuple[tuple[str, str], ...]) -> str:
    return _json(headers).decode() if headers else ""
