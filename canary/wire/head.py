"""A request's head: what llhttp reads, held to RFC 9112 where llhttp is lenient."""

import re
from typing import Final

from httptools import HttpParserError, HttpParserInvalidMethodError, HttpParserUpgrade, HttpRequestParser

from canary.wire.heads import RequestHead


class BadRequest(Exception):
    """A request that is not forwarded, with the status that says why."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


(HOST, LENGTH, CODING, CONNECTION, HOP, UPGRADE, EXPECT, FORCE, FOR, PROTO, FHOST) = range(11)
SPECIAL: Final = {
    b"host": HOST,
    b"content-length": LENGTH,
    b"transfer-encoding": CODING,
    b"connection": CONNECTION,
    b"keep-alive": HOP,
    b"proxy-connection": HOP,
    b"te": HOP,
    b"trailer": HOP,
    b"http2-settings": HOP,
    b"upgrade": UPGRADE,
    b"expect": EXPECT,
    b"x-canary-force": FORCE,
    b"x-forwarded-for": FOR,
    b"x-forwarded-proto": PROTO,
    b"x-forwarded-host": FHOST,
}
_KNOWN: Final[dict[bytes, tuple[bytes, int, bytes]]] = {}
_MOST_KNOWN: Final = 4_096  # casings and names remembered: a client cannot fill our memory with them
BLANKS: Final = (b" ", b"\t")
# RFC 3986 characters, and those that browsers send raw in queries; never controls, blanks, quotes, angles, '#', non-ASCII
TARGET: Final = re.compile(rb"/[!$-;=?-~]*+")
_ABSOLUTE: Final = re.compile(rb"https?://([^/?@]++)([/?][!$-;=?-~]*+)?", re.IGNORECASE)
AUTHORITY: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9._~!$&'()*+,;=%-]*+)(?::[0-9]{0,5})?")
_METHOD_LINE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++ [!-~]++ HTTP/1\.[01]\r\n")
_VERSION_LINE: Final = re.compile(rb"[A-Z]++ [!-~]++ HTTP/[0-9]\.[0-9]\r\n")
_TOKENS: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]++")
_PROTOCOL: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]++(?:/[!#$%&'*+.^_`|~0-9a-z-]++)?")
_MAX_LENGTH_DIGITS: Final = 15


class HeadParser:
    """Reads whole heads, one after the other; one serves all connections of a loop.

    The parser is asked for heads only: where a message ends is decided by our own framing, because llhttp does not tell the
    position, and it would read a pipelined request before its turn.
    """

    def __init__(self) -> None:
        self._fields: list[tuple[bytes, bytes]] = []
        self._target = b""
        self._complete = False
        self._authority = b""  # the last good one: it seldom changes
        self._parser = HttpRequestParser(self)

    def on_url(self, piece: bytes) -> None:
        """Called by the parser, maybe in pieces."""
        self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser for each field."""
        self._fields.append((name, value))

    def on_message_complete(self) -> None:
        """Called by the parser where the message has no body."""
        self._complete = True

    def parse(self, data: bytes, max_fields: int) -> RequestHead:
        """The head in `data`, which ends with an empty line. Raises BadRequest."""
        parser = self._parser
        raw: list[tuple[bytes, bytes]] = []
        self._fields = raw
        self._target = b""
        self._complete = reusable = False
        try:
            try:
                parser.feed_data(data)
            except HttpParserUpgrade:
                self._parser = HttpRequestParser(self)
                self._complete = True
            except HttpParserError as error:
                raise _refusal(data, error) from error
            if len(raw) > max_fields:
                raise BadRequest(431, f"more than {max_fields} header fields")
            method: bytes = parser.get_method()
            line = data.find(b"\r\n")
            if line != len(method) + len(self._target) + 10 or not data.startswith(b"HTTP/1.", line - 8):
                raise _refusal(data, None)
            head = RequestHead(method, self._target, self._target.partition(b"?")[0])
            head.http10 = data[line - 1] == 0x30
            _read_fields(head, raw)
            _check_target(head)
            if head.authority != self._authority:
                if not AUTHORITY.fullmatch(head.authority):
                    raise BadRequest(400, "bad host field")
                self._authority = head.authority
            reusable = head.keep_alive
            return head
        finally:
            if not reusable:  # it saw a connection's last message, or stumbled
                self._parser = HttpRequestParser(self)
                self._complete = True  # the new one waits for a head: the body is not for it

    def pass_body(self, body: bytes) -> None:
        """After a head that announced a body: the parser sees it too, or is replaced where it came in other pieces."""
        if not self._complete:
            if body:
                self._parser.feed_data(body)
            if not self._complete:
                self._parser = HttpRequestParser(self)


def _refusal(data: bytes, error: Exception | None) -> BadRequest:
    """The fitting refusal for a head that the parser or the first line's check declined."""
    if isinstance(error, HttpParserInvalidMethodError) and _METHOD_LINE.match(data):
        return BadRequest(501, "unknown method")
    if _VERSION_LINE.match(data) and b" HTTP/1." not in data[: data.find(b"\r\n")]:
        return BadRequest(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    reason = str(error) if error is not None else "bad request line"
    if reason == "Request has invalid `Transfer-Encoding`":
        return BadRequest(501, "only the chunked transfer coding is understood")
    return BadRequest(400, reason.lower())


def _read_fields(head: RequestHead, raw: list[tuple[bytes, bytes]]) -> None:
    fields = head.fields
    special: dict[int, bytes] = {}
    for name, value in raw:
        known = _KNOWN.get(name)
        if known is None:
            known = _learn(name)
        low, code, start = known
        if value[-1:] in BLANKS:
            value = value.strip(b" \t")  # noqa: PLW2901 - llhttp leaves trailing blanks
        if code < 0:
            fields.append((low, value, start + value + b"\r\n"))
        elif code in special:
            special[code] = _again(code, special[code], value)
        else:
            special[code] = value
    authority = special.get(HOST)
    if authority is not None:
        head.authority = authority
    elif not head.http10:
        raise BadRequest(400, "a host field is expected")
    if len(special) > 1 or authority is None:
        apply(head, special)
    else:
        head.keep_alive = not head.http10


def _learn(name: bytes) -> tuple[bytes, int, bytes]:
    """Lower case, special code and the line's beginning of a field name; remembered up to a bound."""
    low = name.lower()
    known = (low, SPECIAL.get(low, -1), name + b": ")
    if len(_KNOWN) < _MOST_KNOWN:
        _KNOWN[name] = known
    return known


def _again(code: int, before: bytes, value: bytes) -> bytes:
    """A special field's second line: lists are joined, single values are refused."""
    if code in (HOST, LENGTH, CODING, FORCE):
        raise BadRequest(400, "a field that stands alone came twice")
    return before + b", " + value


def apply(head: RequestHead, special: dict[int, bytes]) -> None:
    """Takes the special fields, by their codes, into the head. Raises BadRequest."""
    length, coding = special.get(LENGTH), special.get(CODING)
    if length is not None:
        head.length = _length_of(length)
        if coding is not None:
            raise BadRequest(400, "content-length beside transfer-encoding")
    if coding is not None:
        _coding(head, coding.lower())
    if EXPECT in special and not head.http10:
        _expect(head, special[EXPECT])
    head.force = special.get(FORCE, b"")
    head.forwarded_for = special.get(FOR, b"")
    head.forwarded_proto = special.get(PROTO, b"")
    head.forwarded_host = special.get(FHOST, b"")
    head.upgrade = special.get(UPGRADE, b"").lower()
    _connection(head, special.get(CONNECTION, b"").lower())


def _length_of(value: bytes) -> int:
    if not value.isdigit():
        raise BadRequest(400, "content-length is not a number")
    if len(value) > _MAX_LENGTH_DIGITS:
        raise BadRequest(413, "content-length is beyond all bounds")
    return int(value)


def _expect(head: RequestHead, value: bytes) -> None:
    if value.lower() != b"100-continue":
        raise BadRequest(417, "only 100-continue can be expected")
    head.expects = True


def _coding(head: RequestHead, coding: bytes) -> None:
    if head.http10:
        raise BadRequest(400, "transfer-encoding in an HTTP/1.0 request")
    if coding != b"chunked":
        raise BadRequest(501, "only the chunked transfer coding is understood")
    head.chunked = True
    head.length = -1


def _connection(head: RequestHead, connection: bytes) -> None:
    """Applies the Connection field: what it names is hop-by-hop too."""
    tokens = {token.strip(b" \t") for token in connection.split(b",")} - {b""}
    if any(not _TOKENS.fullmatch(token) for token in tokens):
        raise BadRequest(400, "connection is not a list of tokens")
    head.keep_alive = b"close" not in tokens and (not head.http10 or b"keep-alive" in tokens)
    # h2c would be a second protocol behind our back; with a body or another method it is a plain request
    tunnels = b"upgrade" in tokens and not head.http10 and not head.length and head.method == b"GET"
    if not tunnels or head.upgrade.startswith(b"h2") or not _PROTOCOL.fullmatch(head.upgrade):
        head.upgrade = b""
    tokens -= {b"close", b"keep-alive", b"upgrade"}
    if tokens:
        head.listed = [field for field in head.fields if field[0] not in tokens]


def _check_target(head: RequestHead) -> None:
    """Brings the target to origin-form; the authority of an absolute one stands over the Host field (RFC 9112, 3.2.2)."""
    target = head.target
    if not TARGET.fullmatch(target):
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is not None:
            head.authority = absolute[1]
            rest = absolute[2] or b"/"
            head.target = rest if rest.startswith(b"/") else b"/" + rest
            head.path = head.target.partition(b"?")[0]
        elif head.method == b"CONNECT":
            raise BadRequest(501, "this is no forward proxy")
        elif not (target == b"*" and head.method == b"OPTIONS"):
            raise BadRequest(400, "bad request target")
    if head.method == b"CONNECT":
        raise BadRequest(501, "this is no forward proxy")
