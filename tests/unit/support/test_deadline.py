"""The wait helper: it returns what was found, asks at least once, and gives up in time."""

import time

import pytest

from tests.support.deadline import TooLate, wait_for, wait_for_answer, wait_until


def test_the_first_true_answer_comes_back() -> None:
    answers = iter([0, "", None, "there"])
    assert wait_for(lambda: next(answers), 5) == "there"


def test_a_condition_is_asked_once_even_without_time() -> None:
    assert wait_for(lambda: 7, 0) == 7


def test_giving_up_says_what_was_awaited_and_seen() -> None:
    started = time.monotonic()
    with pytest.raises(TooLate, match=r"waited 0\.05 s for rows; last seen: \[\]"):
        wait_for(list, 0.05, what="rows")
    assert 0.05 <= time.monotonic() - started < 5


async def test_the_loop_runs_while_an_async_test_waits() -> None:
    seen: list[int] = []

    async def grow() -> list[int]:
        seen.append(1)
        return seen if len(seen) >= 3 else []

    assert await wait_for_answer(grow, 5) == [1, 1, 1]
    assert await wait_until(lambda: len(seen), 5) == 3


async def test_an_async_wait_gives_up_too() -> None:
    with pytest.raises(TooLate):
        await wait_until(lambda: False, 0.02)
