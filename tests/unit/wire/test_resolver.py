"""Names to addresses where the resolver answers, refuses, or says nothing at all."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from canary.wire.resolver import TTL_S, Resolver


class _Loop:
    """What a resolver asks of a loop."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: list[str] | None = ["10.0.0.1"]
        self.late = ["10.0.0.1"]  # the answer once the silence is over
        self.silent = asyncio.Event()

    async def getaddrinfo(self, *_: Any, **__: Any) -> list[Any]:
        self.asked += 1
        if self.answer is None:
            await self.silent.wait()
        found = self.late if self.answer is None else self.answer
        if not found:
            raise OSError("no such name")
        return [(0, 0, 0, "", (address, 0)) for address in found]

    def create_task(self, asking: Coroutine[Any, Any, list[str]]) -> "asyncio.Task[list[str]]":
        return asyncio.get_running_loop().create_task(asking)


class _Clock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def _resolver(loop: _Loop, clock: _Clock) -> Resolver:
    return Resolver(loop, clock)  # type: ignore[arg-type]


async def test_an_answer_is_kept_for_its_time() -> None:
    loop, clock = _Loop(), _Clock()
    resolver = _resolver(loop, clock)
    assert await resolver.resolve("a", 80) == ["10.0.0.1"]
    loop.answer = ["10.0.0.2"]
    assert await resolver.resolve("a", 80) == ["10.0.0.1"]
    clock.now += TTL_S + 1
    assert await resolver.resolve("a", 80) == ["10.0.0.2"]
    assert await resolver.resolve("127.0.0.1", 80) == ["127.0.0.1"]
    assert loop.asked == 2


async def test_what_was_never_known_is_an_error() -> None:
    loop = _Loop()
    loop.answer = []
    with pytest.raises(OSError, match="no such name"):
        await _resolver(loop, _Clock()).resolve("a", 80)


async def test_what_is_known_serves_on_where_the_resolver_fails() -> None:
    loop, clock = _Loop(), _Clock()
    resolver = _resolver(loop, clock)
    await resolver.resolve("a", 80)
    clock.now += TTL_S + 1
    loop.answer = []
    assert [await resolver.resolve("a", 80) for _ in range(3)] == [["10.0.0.1"]] * 3
    assert loop.asked == 2, "not every connect asks a resolver that is away"


async def test_what_is_known_serves_on_where_the_resolver_is_silent_and_its_late_word_counts() -> None:
    loop, clock = _Loop(), _Clock()
    resolver = _resolver(loop, clock)
    await resolver.resolve("a", 80)
    clock.now += TTL_S + 1
    loop.answer, loop.late = None, ["10.0.0.3"]
    async with asyncio.timeout(30):
        assert [await resolver.resolve("a", 80) for _ in range(3)] == [["10.0.0.1"]] * 3
        assert loop.asked == 2
        loop.silent.set()
        for _ in range(5):
            await asyncio.sleep(0)
        assert await resolver.resolve("a", 80) == ["10.0.0.3"]


async def test_connects_at_once_ask_once() -> None:
    loop = _Loop()
    resolver = _resolver(loop, _Clock())
    assert await asyncio.gather(*(resolver.resolve("a", 80) for _ in range(5))) == [["10.0.0.1"]] * 5
    assert loop.asked == 1
