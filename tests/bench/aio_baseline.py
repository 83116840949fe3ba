"""The peer that a Python developer would write in an afternoon: a reverse proxy on aiohttp's server and client.

It forwards to a stable upstream, sends a share of the traffic to a candidate, copies what stays on stable to the candidate
in background tasks, and throws the copies' answers away. aiohttp's own parts do everything: sessions, pools, streaming.
"""

import argparse
import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress

import uvloop
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector, web
from multidict import CIMultiDict, CIMultiDictProxy

CONNECTION_FIELDS = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade")
)
WRITTEN_ANEW = CONNECTION_FIELDS | {"host", "content-length"}
COPIES_AT_ONCE = 512
BUFFERED_BYTES = 1 << 20


def end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """The fields that go on to the other side."""
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in WRITTEN_ANEW)


class ReverseProxy:
    """One application's handler with its client session and its background copies."""

    session: ClientSession
    copies: asyncio.TaskGroup

    def __init__(self, *, stable: str, candidate: str | None, live_share: float, mirrors: bool) -> None:
        self.stable = stable
        self.candidate = candidate
        self.live_share = live_share
        self.mirrors = mirrors
        self.copies_in_flight = 0

    async def lifetime(self, _app: web.Application) -> AsyncIterator[None]:
        """Opens the session and the group of background tasks for as long as the application runs."""
        connector = TCPConnector(limit=0, keepalive_timeout=60)
        async with (
            ClientSession(connector=connector, timeout=ClientTimeout(total=60), auto_decompress=False) as self.session,
            asyncio.TaskGroup() as self.copies,
        ):
            yield

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one request from the upstream that the draw names."""
        body = await request.read() if request.can_read_body else None
        headers = end_to_end(request.headers)
        origin = self.stable
        if self.candidate is not None and random.random() < self.live_share:
            origin = self.candidate
        elif self.candidate is not None and self.mirrors and self.copies_in_flight < COPIES_AT_ONCE:
            self.copies_in_flight += 1
            self.copies.create_task(self.copy(request.method, self.candidate + request.path_qs, headers, body))
        try:
            async with self.session.request(
                request.method, origin + request.path_qs, headers=headers, data=body, allow_redirects=False
            ) as answer:
                return await self.pass_on(request, answer)
        except TimeoutError:
            return web.json_response({"title": "the upstream took too long"}, status=504)
        except ClientError as error:
            return web.json_response({"title": "the upstream failed", "detail": str(error)}, status=502)

    async def pass_on(self, request: web.Request, answer: ClientResponse) -> web.StreamResponse:
        """Small answers of known length in one piece, others as they come."""
        headers = end_to_end(answer.headers)
        if answer.content_length is not None and answer.content_length <= BUFFERED_BYTES:
            return web.Response(status=answer.status, headers=headers, body=await answer.read())
        stream = web.StreamResponse(status=answer.status, headers=headers)
        await stream.prepare(request)
        async for chunk in answer.content.iter_any():
            await stream.write(chunk)
        await stream.write_eof()
        return stream

    async def copy(self, method: str, url: str, headers: CIMultiDict[str], body: bytes | None) -> None:
        """Sends a copy and reads its answer to the end, so that the connection can be used again."""
        try:
            with suppress(ClientError, TimeoutError):
                async with self.session.request(method, url, headers=headers, data=body, allow_redirects=False) as answer:
                    await answer.read()
        finally:
            self.copies_in_flight -= 1


def main() -> None:
    """Serves until it is told to stop."""
    parser = argparse.ArgumentParser(description="a reverse proxy on aiohttp")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--stable", required=True, help="base URL")
    parser.add_argument("--candidate", help="base URL")
    parser.add_argument("--live-pct", type=float, default=0.0)
    parser.add_argument("--mirror", action="store_true")
    options = parser.parse_args()
    proxy = ReverseProxy(
        stable=options.stable, candidate=options.candidate, live_share=options.live_pct / 100, mirrors=options.mirror
    )
    app = web.Application(client_max_size=64 << 20)
    app.cleanup_ctx.append(proxy.lifetime)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    uvloop.install()
    web.run_app(app, host="127.0.0.1", port=options.port, access_log=None, print=None, backlog=4096)


if __name__ == "__main__":
    main()
