"""What a version makes of a request: one canonical head, its own target, headers, credentials, model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from canary.errors import SnapshotError
from canary.split.spec import HeaderRule, SecretRef, VersionSpec
from canary.wire.head import RequestHead
from canary.wire.plain import RequestShape
from canary.wire.upstream import Origin, Upstream

COOKIES: Final = frozenset({b"cookie", b"cookie2"})
CREDENTIALS: Final = frozenset(
    {
        b"authorization",
        b"proxy-authorization",
        b"x-api-key",
        b"api-key",
        b"x-goog-api-key",
        b"x-auth-token",
        b"x-amz-security-token",
        b"openai-organization",
        b"openai-project",
    }
)
MARK: Final = b"x-canary-shadow"
_NOTHING: Final = frozenset[bytes]()
_PEER: Final = b"\0peer\0"  # stands for the client's address: no field can hold it
_BODY_METHODS: Final = frozenset({b"POST", b"PUT", b"PATCH"})
_RAW_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def origin_of(version: VersionSpec) -> tuple[Origin, bytes]:
    """Where the version's upstream is, and the base path put before each target. Raises SnapshotError."""
    parts = urlsplit(version.upstream)
    try:
        port = parts.port
    except ValueError as error:
        raise SnapshotError(f"version {version.name}: upstream {version.upstream!r}: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise SnapshotError(f"version {version.name}: upstream {version.upstream!r} is not http(s)://host[:port][/base]")
    tls = parts.scheme == "https"
    origin = Origin(parts.hostname, port or (443 if tls else 80), tls, version.ca_file if tls else "", version.verify)
    return origin, parts.path.rstrip("/").encode("latin-1")


def resolve(secret: SecretRef, env: Mapping[str, str]) -> str:
    """The secret's value; raises SnapshotError, which names the place and never the value."""
    if secret.env:
        value = env.get(secret.env)
        if value is None:
            raise SnapshotError(f"the environment has no {secret.env}")
        return value.strip()
    try:
        return Path(secret.file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SnapshotError(f"secret file {secret.file}: {error.__class__.__name__}") from error


def _rule_lines(rules: tuple[HeaderRule, ...], env: Mapping[str, str]) -> bytes:
    lines = []
    for rule in rules:
        value = resolve(rule.secret, env) if rule.secret is not None else rule.value
        if not value or rule.name.lower() == "host":
            continue
        if not value.isprintable():
            raise SnapshotError(f"header {rule.name}: its value holds control characters")
        lines.append(f"{rule.name}: {value}\r\n".encode())
    return b"".join(lines)


class Target:
    """One version of one route, ready to be called."""

    __slots__ = (
        "_base",
        "_drop_copy",
        "_drop_live",
        "_host_line",
        "_lines",
        "_model",
        "_strip",
        "name",
        "rewrites_body",
        "upstream",
    )

    def __init__(self, version: VersionSpec, upstream: Upstream, *, trusted: bool, env: Mapping[str, str]) -> None:
        """`trusted`: a live request's own credentials and cookies may go there."""
        origin, self._base = origin_of(version)
        self.name = version.name
        self.upstream = upstream
        self._strip = version.strip_prefix.encode("latin-1").rstrip(b"/")
        hosts = [rule.value for rule in version.headers if rule.name.lower() == "host" and rule.value]
        self._host_line = f" HTTP/1.1\r\nHost: {hosts[-1] if hosts else origin.authority}\r\n".encode("latin-1")
        self._lines = _rule_lines(version.headers, env)
        replaced = frozenset(rule.name.lower().encode("latin-1") for rule in version.headers)
        self._drop_live = replaced if trusted else replaced | CREDENTIALS | COOKIES
        secrets = _NOTHING if version.forward_credentials else CREDENTIALS
        self._drop_copy = replaced | secrets | COOKIES | {MARK}
        self._model = msgspec.Raw(msgspec.json.encode(version.set_model)) if version.set_model else None
        self.rewrites_body = self._model is not None  # then a body must be held whole to be sent there

    def path(self, target: bytes) -> bytes:
        """The target as this version knows it."""
        if target == b"*":
            return target
        strip = self._strip
        if strip and target.startswith(strip) and target[len(strip) : len(strip) + 1] in (b"/", b"?", b""):
            target = target[len(strip) :]
            if not target.startswith(b"/"):
                target = b"/" + target
        return self._base + target

    def body(self, body: bytes) -> bytes:
        """The body with the version's model in its `model` field; other values keep their bytes."""
        if self._model is None or not body:
            return body
        try:
            fields = _RAW_OBJECT.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return body  # no JSON object: nothing to replace, the upstream will say what it thinks
        fields["model"] = self._model
        return msgspec.json.encode(fields)

    def request_head(self, head: RequestHead, manner: tuple[bytes, int, bool]) -> bytes:
        """The head to send, with its last empty line; `manner`: the client's address, the body's length, whether it is a copy.

        A length of -1: the body comes in chunks.
        """
        shape = head.shape
        if not isinstance(shape, RequestShape) or (head.ids and head is shape.head):  # the first of its shape, maybe the last
            return self._render(head, manner)
        peer, length, copy = manner
        key = (self, length, copy)
        rendered: bytes
        rendered, rest = shape.memo.get(key) or shape.remember(key, self._pieces(shape, length, copy=copy))
        for number, literal in rest:
            rendered += (head.ids[number] if number >= 0 else peer) + literal
        return rendered

    def _pieces(self, shape: RequestShape, length: int, *, copy: bool) -> tuple[bytes, list[tuple[int, bytes]]]:
        """What a head of this shape becomes: its beginning; each id's number (-1: the client) with what stands behind it."""
        marked, marks = shape.marked()
        first = self._render(marked, (_PEER, length, copy))
        rest: list[tuple[int, bytes]] = []
        for number, mark in reversed([*enumerate(marks), (-1, _PEER)]):
            before, found, behind = first.partition(mark)
            if found:  # else its field is not for this version
                first = before
                rest.append((number, behind))
        rest.reverse()
        return first, rest

    def _render(self, head: RequestHead, manner: tuple[bytes, int, bool]) -> bytes:
        peer, length, copy = manner
        drop = self._drop_copy if copy else self._drop_live
        lines = [line for low, _, line in head.fields if low not in drop] if drop else [line for _, _, line in head.fields]
        if length > 0 or (not length and head.method in _BODY_METHODS):
            framing = b"content-length: %d\r\n" % length
        elif length < 0:
            framing = b"transfer-encoding: chunked\r\n"
        else:
            framing = b""
        if head.upgrade and not copy:
            framing += b"connection: upgrade\r\nupgrade: %b\r\n" % head.upgrade
        elif copy:
            framing += b"x-canary-shadow: 1\r\n"
        target = self.path(head.target) if self._strip or self._base else head.target
        return b"%b %b%b%bx-forwarded-for: %b\r\nx-forwarded-proto: %b\r\nx-forwarded-host: %b\r\n%b%b\r\n" % (
            head.method,
            target,
            self._host_line,
            b"".join(lines),
            head.forwarded_for + b", " + peer if head.forwarded_for else peer,
            head.forwarded_proto or b"http",
            head.forwarded_host or head.authority,
            self._lines,
            framing,
        )
