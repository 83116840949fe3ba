"""The guard keeps extra work from harming the caller, and counts what it kept."""

import asyncio
import logging

import pytest

from canary.errors import StoreError
from canary.stats.counts import from_bytes
from canary.telemetry.guard import FAILURES, guarded, in_short
from canary.telemetry.metrics import exposition


def test_a_failure_is_counted_logged_and_goes_no_further(caplog: pytest.LogCaptureFixture) -> None:
    before = FAILURES["unit test one"]
    with caplog.at_level(logging.ERROR), guarded("unit test one") as extra:
        raise ValueError("broken")
    assert isinstance(extra.failed, ValueError)
    assert FAILURES["unit test one"] == before + 1
    assert "extra work failed" in caplog.text
    assert "broken" in caplog.text


def test_a_flood_of_failures_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        for _ in range(50):
            with guarded("unit test flood"):
                raise ValueError("again")
    assert len(caplog.records) == 1
    assert FAILURES["unit test flood"] == 50


def test_success_leaves_no_trace() -> None:
    with guarded("unit test good") as extra:
        pass
    assert extra.failed is None
    assert "unit test good" not in FAILURES


@pytest.mark.parametrize("passes", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_what_ends_a_task_or_process_passes(passes: type[BaseException]) -> None:
    with pytest.raises(passes), guarded("unit test ending"):
        raise passes


def test_failures_are_exported() -> None:
    with guarded("unit test exported"):
        raise ValueError("broken")
    assert b'canary_guarded_failures_total{operation="unit test exported"} 1.0' in exposition()


def test_an_error_in_short_quotes_nobody_and_says_where() -> None:
    with guarded("unit test in short") as ours:
        from_bytes(b"ada@example.com")
    assert ours.failed is not None
    words = in_short(ours.failed)
    assert words.startswith(f"{type(ours.failed).__name__} at canary.stats.")
    assert words.endswith("; the log has the details")
    assert "ada" not in words
    with guarded("unit test in short") as theirs:
        raise ValueError("ada@example.com")
    assert in_short(theirs.failed or ValueError()).startswith("ValueError at ")
    assert "ada" not in in_short(theirs.failed or ValueError())


def test_our_own_errors_keep_their_words_and_a_deadline_is_named() -> None:
    assert in_short(StoreError("a stored Plan cannot be read")) == "StoreError: a stored Plan cannot be read"
    assert in_short(TimeoutError()) == "TimeoutError: it takes too long"
    assert len(in_short(StoreError("x" * 1_000))) == 200
