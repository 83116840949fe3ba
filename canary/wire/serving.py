"""The seams of serving: what a connection, an exchange and the application know of each other; the state they share."""

from typing import Protocol

from canary.split.spec import Limits
from canary.wire.head import HeadParser
from canary.wire.heads import RequestHead
from canary.wire.plain import RequestShape
from canary.wire.ticker import Ticker
from canary.wire.tunnel import Tunnel


class Story(Protocol):
    """What a connection tells the exchange it carries."""

    def client_left(self) -> None:
        """The client is gone before the end of its answer."""
        ...

    def client_full(self) -> None:
        """The client reads slower than we write."""
        ...

    def client_drained(self) -> None:
        """It caught up."""
        ...

    def request_piece(self, data: bytes, *, last: bool) -> None:
        """More of a streamed request's body."""
        ...

    @property
    def answered(self) -> bool:
        """True once a part of the answer was handed to the client."""
        ...

    def request_broken(self) -> None:
        """The streamed request's body cannot be completed."""
        ...

    def check(self, now: float) -> None:
        """Called by the ticker for deadlines."""
        ...


class Client:
    """A client's connection, as those see it who answer its requests."""

    __slots__ = ("peer", "story")

    peer: bytes
    story: Story | None

    @property
    def is_open(self) -> bool:
        """False once the client is gone or the connection closes."""
        raise NotImplementedError

    @property
    def complete(self) -> bool:
        """True where the request was read to its end."""
        raise NotImplementedError

    @property
    def may_persist(self) -> bool:
        """Whether another request may follow on this connection."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """A part of the answer."""
        raise NotImplementedError

    def answer(self, data: bytes, keep: bool) -> None:
        """The answer, or its last part; then the next request's turn, or the end."""
        raise NotImplementedError

    def finish(self, *, keep: bool) -> None:
        """The answer is out; the next request's turn, or the end."""
        raise NotImplementedError

    def abort(self) -> None:
        """Resets the connection: what was sent so far is not a whole answer."""
        raise NotImplementedError

    def pause(self) -> None:
        """Reads no more for now."""
        raise NotImplementedError

    def resume(self) -> None:
        """Reads again."""
        raise NotImplementedError

    def refuse(self, status: int, detail: str, exchange_id: bytes = b"") -> None:
        """Answers with a problem and closes."""
        raise NotImplementedError

    def become_tunnel(self, tunnel: Tunnel) -> None:
        """After a 101."""
        raise NotImplementedError

    def tunnel_write(self, data: bytes) -> None:
        """From the upstream to the client."""
        raise NotImplementedError

    def tunnel_close(self) -> None:
        """The upstream went."""
        raise NotImplementedError

    def check(self, now: float) -> None:
        """Called by the ticker for deadlines."""
        raise NotImplementedError

    def lose(self) -> None:
        """The worker stops: what is under way ends here, before the loop says so."""
        raise NotImplementedError


class Application:
    """What answers requests."""

    __slots__ = ()

    def begin(self, client: "Client", head: RequestHead, body: bytes, *, whole: bool) -> None:
        """A request came, whole or with the beginning of a larger body."""
        raise NotImplementedError

    def refused(self, status: int) -> None:
        """A request was refused before it had a route."""
        raise NotImplementedError

    def new_id(self) -> bytes:
        """An exchange id."""
        raise NotImplementedError


class Server:
    """All client connections of a loop, their limits, the application behind them."""

    def __init__(self, application: Application, *, ticker: Ticker, limits: Limits) -> None:
        self.application = application
        self.ticker = ticker
        self.limits = limits
        self.parser = HeadParser()
        self.connections: set[Client] = set()
        self.shape: RequestShape | None = None  # the last that was learned: a new client may well write alike
        self.accepted = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.draining_since: float | None = None
        ticker.add(self._check)

    def drain(self) -> None:
        """From now on each answer is its connection's last."""
        self.draining_since = self.ticker.now

    def abort(self) -> None:
        """Cuts what is still open."""
        for connection in list(self.connections):
            connection.abort()

    def _check(self, now: float) -> None:
        for connection in list(self.connections):
            connection.check(now)
