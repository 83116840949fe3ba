"""The order in which an arm is decided: order here, eligibility, signed word, then the coin."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from canary.proxy.assign import assign, cookie_of
from canary.proxy.assignment import Assignment
from canary.proxy.route import Route, make_target
from canary.proxy.shadow import ShadowSink
from canary.split.force import sign
from canary.split.spec import MirrorSpec, Split, UnitSpec
from canary.store.overlay import OverlayOrder
from canary.telemetry.page import Page
from canary.terms import Arm, AssignedBy, UnitSource
from canary.wire.head import HeadParser
from canary.wire.heads import RequestHead
from canary.wire.resolver import Resolver
from canary.wire.ticker import Ticker
from canary.wire.upstream import Upstream
from tests.support.worker_process import a_route, a_split, a_version

ORDER = OverlayOrder(reason="r", actor="a", at=datetime(2026, 1, 1, tzinfo=UTC), revision=1)
KEYS = (b"force", b"units")


def _head(fields: str = "") -> RequestHead:
    return HeadParser().parse(f"GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode("latin-1"), 128)


async def _assign(
    tmp_path: Path,
    fields: str = "",
    *,
    split: Split | None,
    unit: UnitSpec | None = None,
    order: OverlayOrder | None = None,
    eligible: bool = True,
) -> Assignment:
    loop = asyncio.get_running_loop()
    page = Page(tmp_path / "page")
    spec = a_route(a_version("v1", 1), a_version("v2", 2), split=split, unit=unit or UnitSpec())
    route = Route(
        spec,
        order=order,
        cells=page.route("main"),
        sink=ShadowSink(MirrorSpec()),
        target=lambda version, trusted: make_target(
            version,
            trusted,
            upstream_of=lambda origin: Upstream(origin, loop=loop, ticker=Ticker(loop), resolver=Resolver(loop)),
            env={},
        ),
    )
    return assign(route, _head(fields), b"i" * 16, start_at_us=1_000_000, eligible=eligible, keys=KEYS)


STICKY = UnitSpec(source=UnitSource.HEADER, name="X-User")
ALL = a_split(weight_bp=10_000, shadow_bp=10_000)
FORCE = f"x-canary-force: {sign('main', Arm.STABLE, expires=10, key=b'force')}\r\n"


@pytest.mark.parametrize(
    ("fields", "order", "eligible", "by", "arm", "segment"),
    [
        ("", None, True, AssignedBy.HASH, Arm.CANDIDATE, 7),
        (FORCE, None, True, AssignedBy.FORCED, Arm.STABLE, 0),
        (FORCE, None, False, AssignedBy.INELIGIBLE, Arm.STABLE, 0),
        (FORCE, ORDER, True, AssignedBy.OVERLAY, Arm.STABLE, 0),
        ("", ORDER, False, AssignedBy.OVERLAY, Arm.STABLE, 0),
    ],
)
async def test_the_first_reason_wins(
    tmp_path: Path, fields: str, order: OverlayOrder | None, eligible: bool, by: AssignedBy, arm: Arm, segment: int
) -> None:  # fmt: skip
    made = await _assign(tmp_path, fields, split=ALL, order=order, eligible=eligible)
    assert (made.assigned_by, made.arm, made.segment) == (by, arm, segment)


async def test_without_a_rollout_there_is_no_coin(tmp_path: Path) -> None:
    made = await _assign(tmp_path, split=None)
    assert (made.assigned_by, made.arm, made.segment, made.bucket, made.in_share) == (
        AssignedBy.DEFAULT,
        Arm.STABLE,
        0,
        -1,
        False,
    )


async def test_a_unit_is_known_by_its_hash_with_and_without_a_rollout(tmp_path: Path) -> None:
    before = await _assign(tmp_path, "x-user: ann\r\n", split=None, unit=STICKY)
    during = await _assign(tmp_path, "X-USER: ann\r\n", split=ALL, unit=STICKY)
    assert before.unit_hash == during.unit_hash != b""
    assert (await _assign(tmp_path, "x-user: bob\r\n", split=ALL, unit=STICKY)).unit_hash != during.unit_hash


async def test_only_the_stable_arm_is_in_the_shadows_share(tmp_path: Path) -> None:
    assert not (await _assign(tmp_path, split=ALL)).in_share
    assert (await _assign(tmp_path, split=a_split(shadow_bp=10_000))).in_share
    assert not (await _assign(tmp_path, split=a_split(shadow_bp=0))).in_share


def test_a_cookie_is_found_whole() -> None:
    head = _head('cookie: xuser=1; user="two"; user=3\r\ncookie: last=4\r\n')
    assert cookie_of(head, b"user") == b"two"
    assert cookie_of(head, b"last") == b"4"
    assert cookie_of(head, b"use") is None


async def test_a_local_order_stops_the_shadow_too(tmp_path: Path) -> None:
    split = a_split(shadow_bp=10_000)
    assert (await _assign(tmp_path, split=split)).in_share
    assert not (await _assign(tmp_path, split=split, order=ORDER)).in_share
