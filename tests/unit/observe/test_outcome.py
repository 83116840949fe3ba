"""What failed, whose fault it was, and how long it took."""

import pytest

from canary.observe.outcome import LOST, observe
from canary.terms import Ending, Fault, RouteKind
from tests.support.frames import a_side

FAILED = True


@pytest.mark.parametrize(
    ("ending", "status", "failed", "fault"),
    [
        (Ending.WHOLE, 200, False, Fault.NONE),
        (Ending.WHOLE, 302, False, Fault.NONE),
        (Ending.WHOLE, 400, False, Fault.CLIENT),
        (Ending.WHOLE, 404, False, Fault.CLIENT),
        (Ending.WHOLE, 408, FAILED, Fault.UPSTREAM),
        (Ending.WHOLE, 429, FAILED, Fault.UPSTREAM),
        (Ending.WHOLE, 499, False, Fault.CLIENT),
        (Ending.WHOLE, 500, FAILED, Fault.UPSTREAM),
        (Ending.WHOLE, 503, FAILED, Fault.UPSTREAM),
        (Ending.CUT, 200, FAILED, Fault.UPSTREAM),
        (Ending.RESET, 0, FAILED, Fault.UPSTREAM),
        (Ending.REFUSED, 0, FAILED, Fault.UPSTREAM),
        (Ending.TIMEOUT, 0, FAILED, Fault.UPSTREAM),
        (Ending.TIMEOUT, 200, FAILED, Fault.UPSTREAM),
        (Ending.MALFORMED, 0, FAILED, Fault.UPSTREAM),
        (Ending.CLIENT_LEFT, 0, False, Fault.CLIENT),
        (Ending.CLIENT_LEFT, 200, False, Fault.CLIENT),
        (Ending.CLIENT_LEFT, 500, False, Fault.CLIENT),
        (Ending.REJECTED, 413, False, Fault.CLIENT),
        (Ending.REJECTED, 503, FAILED, Fault.OWN),
        (Ending.LOST, 0, FAILED, Fault.OWN),
    ],
)
def test_what_failed_and_by_whom(ending: Ending, status: int, failed: bool, fault: Fault) -> None:
    outcome = observe(a_side(ending=ending, status=status))
    assert (outcome.failed, outcome.fault) == (failed, fault)
    assert outcome.left is (ending is Ending.CLIENT_LEFT)


def test_latency_runs_from_the_write_and_the_age_from_the_start() -> None:
    outcome = observe(a_side(connect_us=500, written_us=700, first_byte_us=10_000, end_us=12_000))
    assert (outcome.latency_us, outcome.ttfb_us, outcome.age_us, outcome.connect_us) == (11_300, 9_300, 12_000, 500)


def test_what_never_came_is_minus_one() -> None:
    refused = observe(a_side(ending=Ending.REFUSED, status=0, written_us=-1, first_byte_us=-1, end_us=3_000))
    assert (refused.latency_us, refused.ttfb_us, refused.age_us) == (-1, -1, 3_000)
    silent = observe(a_side(ending=Ending.TIMEOUT, status=0, first_byte_us=-1))
    assert (silent.latency_us, silent.ttfb_us) == (19_800, -1)


def test_a_lost_exchange_ended_badly_at_every_age() -> None:
    assert (LOST.failed, LOST.left, LOST.age_us, LOST.ending) == (True, False, 0, Ending.LOST)


@pytest.mark.parametrize(
    ("kind", "content_type", "status", "failed"),
    [
        (RouteKind.LLM, "text/event-stream; charset=utf-8", 200, True),
        (RouteKind.HTTP, "text/event-stream", 200, False),  # a JSON `error` means something for language models only
        (RouteKind.LLM, "application/json", 200, False),
        (RouteKind.LLM, "", 200, False),
        (RouteKind.LLM, "text/event-stream", 404, False),
    ],
)
def test_an_error_inside_a_stream_that_began_well_is_a_failure(
    kind: RouteKind, content_type: str, status: int, failed: bool
) -> None:
    body = b'data: {"choices": []}\n\ndata: {"error": {"message": "overloaded"}}\n\n'
    outcome = observe(a_side(status=status, body=body), kind=kind, content_type=content_type)
    assert (outcome.failed, outcome.error_event) == (failed, failed)
    if failed:
        assert outcome.fault is Fault.UPSTREAM


def test_a_client_that_leaves_such_a_stream_has_still_not_failed() -> None:
    body = b"event: error\ndata: {}\n\n"
    outcome = observe(a_side(ending=Ending.CLIENT_LEFT, body=body), content_type="text/event-stream")
    assert (outcome.failed, outcome.left, outcome.error_event) == (False, True, True)


def test_a_long_stream_says_at_its_end_that_it_failed() -> None:
    side = a_side(
        body=b'data: {"choices": []}\n\n', body_truncated=True, tail=b'oken"}\n\ndata: {"error": {"message": "overloaded"}}\n\n'
    )
    outcome = observe(side, kind=RouteKind.LLM, content_type="text/event-stream")
    assert (outcome.failed, outcome.error_event, outcome.fault) == (True, True, Fault.UPSTREAM)
