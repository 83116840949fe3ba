"""What a version makes of a request: one canonical head, its own target, headers, credentials, model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from canary.errors import SnapshotError
from canary.observe import sources
from canary.split.spec import HeaderRule, SecretRef, VersionSpec
from canary.wire.form import Form
from canary.wire.heads import RequestHead
from canary.wire.origin import Origin
from canary.wire.upstream import Upstream

COOKIES: Final = frozenset({b"cookie", b"cookie2"})
CREDENTIALS: Final = frozenset(name.encode("ascii") for name in sources.CREDENTIALS)
MARK: Final = b"x-canary-shadow"
_NOTHING: Final = frozenset[bytes]()
_PEER: Final = b"\0peer\0"  # stands for the client's address: no field can hold it
_LENGTH: Final = b"\0length\0"
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
        "_copies",
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
        self._copies = object()  # the key to what copies look like
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
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return body  # no JSON object, or one nested without end: nothing to replace, the upstream will say what it thinks
        fields["model"] = self._model
        return msgspec.json.encode(fields)

    def request_head(self, head: RequestHead, manner: tuple[bytes, int, bool]) -> bytes:
        """The head to send, with its last empty line; `manner`: the client's address, the body's length, whether it is a copy.

        A length of -1: the body comes in chunks.
        """
        form, (peer, length, copy) = head.form, manner
        if form is None:
            return self._render(head, peer, framing=self._framing(head, length, copy=copy), copy=copy)
        key = self._copies if copy else self
        made: tuple[bytes, bytes | None] = form.memo.get(key) or form.remember(key, self._templates(head, form, copy=copy))
        framed, bare = made
        if length > 0 or (not length and bare is None):
            behind = (peer, length)
            return framed % (head.values + behind)
        if not length and bare is not None:
            return bare % (*head.values, peer)
        return self._render(head, peer, framing=self._framing(head, length, copy=copy), copy=copy)

    def _templates(self, head: RequestHead, form: Form, *, copy: bool) -> tuple[bytes, bytes | None]:
        """What heads of this form become, with and without a body: open for its values, the client's address, the length.

        Without a body alone where the method does not promise one.
        """
        marks = [b"\0%d\0" % number for number in range(len(head.values))]  # bytes that no field can hold
        marked = replace(head, listed=form.fields_of(marks))
        framing = [self._framing(head, 1, copy=copy).replace(b": 1", b": " + _LENGTH, 1)]
        if head.method not in _BODY_METHODS:
            framing.append(self._framing(head, 0, copy=copy))
        rendered = [self._render(marked, _PEER, framing=lines, copy=copy) for lines in framing]
        framed, *bare = [_template(text, [*marks, _PEER, _LENGTH]) for text in rendered]
        return framed, bare[0] if bare else None

    def _framing(self, head: RequestHead, length: int, *, copy: bool) -> bytes:
        """The lines that say where the body ends, and what kind of request it is."""
        if length > 0 or (not length and head.method in _BODY_METHODS):
            framing = b"content-length: %d\r\n" % length
        elif length < 0:
            framing = b"transfer-encoding: chunked\r\n"
        else:
            framing = b""
        if copy:
            return framing + b"x-canary-shadow: 1\r\n"
        return framing + b"connection: upgrade\r\nupgrade: %b\r\n" % head.upgrade if head.upgrade else framing

    def _render(self, head: RequestHead, peer: bytes, *, framing: bytes, copy: bool) -> bytes:
        drop = self._drop_copy if copy else self._drop_live
        lines = [line for low, _, line in head.fields if low not in drop] if drop else [line for _, _, line in head.fields]
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


def _template(rendered: bytes, marks: list[bytes]) -> bytes:
    """The same with conversions in place of the marks, which stand in this order; one that is not there takes nothing in."""
    template, rest = b"", rendered.replace(b"%", b"%%")
    for mark in marks:
        before, found, behind = rest.partition(mark)
        if found:
            template, rest = template + before + (b"%d" if mark is _LENGTH else b"%b"), behind
        elif mark is not _LENGTH:
            template += b"%.0b"
    return template + rest
