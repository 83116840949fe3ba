"""Model servers and traffic over real sockets, and the ends of the demonstration's processes."""

import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from canary.demo.behaviour import GOOD, Behaviour
from canary.demo.children import Child, Served, ports_of
from canary.demo.models import Model, serve
from canary.demo.sample import Call, Sample, Scale, Timing
from canary.demo.tally import Tally
from canary.demo.traffic import Traffic
from canary.errors import CanaryError
from tests.support.deadline import wait_until

QUICK = Sample(
    calls=(Call(gap_s=0.01, in_tok=20, out_tok=30),),
    timings=(Timing(first_token_s=0.001, per_token_s=0.0),),
    scale=Scale(factor=1.0, power=1.0),
)


class OneModel:
    """One model and its port."""

    def __init__(self, model: Model, port: int) -> None:
        self.model = model
        self.port = port

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes, bytes]:
        """Status, head and body of one exchange on its own connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(
            f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
        )
        raw = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        head, _, rest = raw.partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), head.lower(), rest


@pytest.fixture
async def model() -> AsyncIterator[OneModel]:
    """A model that never fails."""
    one = Model("v1", Behaviour(error_rate=0.0), sample=QUICK, chance=random.Random(1))
    server = await serve(one)
    yield OneModel(one, server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()


def chat_body(**fields: object) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 40} | fields).encode()


async def test_a_plain_answer(model: OneModel) -> None:
    status, head, body = await model.ask("POST", "/v1/chat/completions?a=b", chat_body())
    assert status == 200
    assert b"application/json" in head
    answer = json.loads(body)
    assert answer["model"] == "m"
    assert answer["usage"]["completion_tokens"] == 40


async def test_a_streamed_answer_ends_with_its_mark(model: OneModel) -> None:
    status, head, body = await model.ask("POST", "/v1/chat/completions", chat_body(stream=True))
    assert status == 200
    assert b"text/event-stream" in head
    assert body.rstrip().endswith(b"data: [DONE]\n\n\r\n0")


async def test_models_are_listed_and_the_rest_is_not_found(model: OneModel) -> None:
    status, _, body = await model.ask("GET", "/v1/models")
    assert status == 200
    assert json.loads(body)["data"][0]["id"] == "v1"
    assert (await model.ask("GET", "/v1/other"))[0] == 404


@pytest.mark.parametrize("body", [b"", b"nonsense", chat_body(max_tokens=0), chat_body(max_tokens=10**9)])
async def test_what_is_no_chat_is_a_bad_request(model: OneModel, body: bytes) -> None:
    assert (await model.ask("POST", "/v1/chat/completions", body))[0] == 400


async def test_a_body_without_bound_is_refused(model: OneModel) -> None:
    assert (await model.ask("POST", "/v1/chat/completions", b"x" * 1_200_000))[0] == 413


async def test_a_model_breaks_on_order(model: OneModel) -> None:
    assert (await model.ask("POST", "/__behave", b'{"error_rate": 1.0}'))[0] == 200
    assert (await model.ask("POST", "/v1/chat/completions", chat_body()))[0] == 500
    assert (await model.ask("POST", "/__behave", b"{}"))[0] == 400
    assert model.model.behaviour.error_rate == 1.0


async def test_a_client_that_leaves_gets_no_answer_made(model: OneModel) -> None:
    slow = Sample(calls=QUICK.calls, timings=(Timing(first_token_s=30.0, per_token_s=0.0),), scale=Scale(factor=1.0, power=1.0))
    model.model.sample = slow
    _, writer = await asyncio.open_connection("127.0.0.1", model.port)
    body = chat_body()
    writer.write(f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    model.model.sample = QUICK
    assert (await model.ask("POST", "/v1/chat/completions", chat_body()))[0] == 200
    assert model.model.answered == 1


async def flowing(traffic: Traffic, until: int) -> Tally:
    """Lets traffic flow until so many answers have come."""
    flow = asyncio.get_running_loop().create_task(traffic.flow())
    try:
        await wait_until(lambda: traffic.tally.answered + traffic.tally.harmed >= until, what=f"{until} answers")
    finally:
        flow.cancel()
    await wait_until(lambda: traffic.tally.in_flight == 0, what="the last answers")
    for connection in list(traffic.idle):
        connection.abort()
    return traffic.tally


async def test_traffic_is_answered_and_counted(model: OneModel) -> None:
    tally = await flowing(Traffic(model.port, QUICK, rate=500, chance=random.Random(1)), 60)
    assert tally.harmed == 0
    assert tally.answered == tally.sent
    assert not tally.on_trial


async def test_failures_harm_clients(model: OneModel) -> None:
    model.model.behaviour = GOOD.with_errors(1.0)
    tally = await flowing(Traffic(model.port, QUICK, rate=500, chance=random.Random(1)), 20)
    assert tally.answered == 0
    assert tally.harmed == tally.sent


async def test_nobody_there_harms_clients_and_nothing_else() -> None:
    probe = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = probe.sockets[0].getsockname()[1]
    probe.close()
    await probe.wait_closed()
    tally = await flowing(Traffic(port, QUICK, rate=500, chance=random.Random(1)), 20)
    assert tally.harmed == tally.sent >= 20


async def test_the_processes_speak_and_end() -> None:
    models = await Child.start("models", "canary.demo.models", ("--version=v1=good", "--version=v2=bad"))
    traffic = None
    try:
        ports = ports_of(await models.line())
        assert set(ports) == {"v1", "v2"}
        traffic = await Child.start("traffic", "canary.demo.traffic", ("--port", str(ports["v1"]), "--rate", "100"))
        tally = Tally()
        while tally.answered < 5:
            tally = msgspec.json.decode(await traffic.line(), type=Tally)
        assert tally.sent >= tally.answered
        await models.stop()
        with pytest.raises(CanaryError, match="ended by itself"):
            await models.line()
    finally:
        await models.stop()
        if traffic is not None:
            await traffic.stop()


async def test_a_line_that_comes_with_a_cancellation_does_not_swallow_it() -> None:
    class Talking:
        def __init__(self) -> None:
            self.stdout = self
            self.next: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def readline(self) -> bytes:
            return await self.next

    process = Talking()
    reading = asyncio.get_running_loop().create_task(Child("one", process).line())  # type: ignore[arg-type]
    for _ in range(3):
        await asyncio.sleep(0)
    process.next.set_result(b"{}")
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_a_helper_that_says_nothing_is_an_error() -> None:
    silent = await Child.start("silent one", "canary.demo.leash", (sys.executable, "-c", "input()"))
    try:
        with pytest.raises(CanaryError, match=r"ended by itself|said nothing"):
            await silent.line(within_s=5.0)
    finally:
        await silent.stop()


async def test_the_leash_tells_its_child_when_the_parent_goes(tmp_path: Path) -> None:
    mark, pid = tmp_path / "mark", tmp_path / "pid"
    code = (
        "import os, pathlib, signal, sys\n"
        f"def end(*_): pathlib.Path({str(mark)!r}).write_text('told'); sys.exit(7)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\n"
        "signal.pause()\n"
    )
    leash = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "canary.demo.leash", sys.executable, "-c", code), stdin=asyncio.subprocess.PIPE
    )
    await wait_until(lambda: pid.exists() and pid.read_text(), what="the child")
    assert leash.stdin is not None
    leash.stdin.close()
    assert await asyncio.wait_for(leash.wait(), 10) == 7
    assert mark.read_text() == "told"
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


async def test_a_product_that_does_not_start_is_told_with_its_log(tmp_path: Path) -> None:
    served = await Served.start(tmp_path / "no-such.yaml", tmp_path / "serve.log")
    try:
        await wait_until(lambda: has_ended(served), within_s=20, what="its end")
        with pytest.raises(CanaryError, match="canary serve ended") as caught:
            served.check()
        assert "log" in caught.value.hint
    finally:
        await served.stop()


def has_ended(served: Served) -> bool:
    """Whether its check raises."""
    try:
        served.check()
    except CanaryError:
        return True
    return False
