"""An upstream's answer: its head sliced and held to the grammar, its body followed to the byte."""

import re
from collections.abc import Sequence
from typing import Final

from canary.wire.answer_head import AnswerHead
from canary.wire.framing import BadFraming, ChunkReader
from canary.wire.heads import BY_LENGTH, CHUNKED, NO_BODY, TUNNEL, UNTIL_CLOSE, Named, Note
from canary.wire.lines import LENGTH, Kind, Lines, Shape, is_id, kind_of, read_field


class BadAnswer(Exception):
    """What came is not an HTTP answer, or not one that can be passed on whole."""


MAX_HEAD_BYTES: Final = 131_072
MAX_INTERIM: Final = 16  # answers of 1xx before the answer
_FIRST_LINE: Final = re.compile(rb"HTTP/1\.[01] [1-5][0-9][0-9](?: [\t\x20-\x7e\x80-\xff]*+)?+")
_LENGTH, _CODING, _CONNECTION, _KEEP_ALIVE, _OTHER_HOP, _PLAIN = range(6)
_KINDS: Final = {
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    b"connection": _CONNECTION,
    b"keep-alive": _KEEP_ALIVE,
    b"proxy-connection": _OTHER_HOP,
    b"te": _OTHER_HOP,
    b"upgrade": _OTHER_HOP,
}
_HOP: Final = frozenset(name for name, kind in _KINDS.items() if kind not in (_LENGTH, _CODING))
_TIMEOUT: Final = re.compile(rb"timeout[ \t]*=[ \t]*\"?([0-9]{1,6})")

_NO_TOKENS: Final = frozenset[bytes]()

Known = tuple[int, Named, Note | None, int]  # the field's kind, the field, how it is written down, a length's number
_MOST_SHAPES: Final = 64
_MOST_SHAPED_BYTES: Final = 4_096
_NOTHING: Final[Known] = (_PLAIN, (b"", b""), None, 0)  # a field that only passes through
_FIRST: Final = Lines[tuple[int, bool]]()  # status, and whether the version is 1.0


class Pattern:
    """What to look for in heads: the fields that framing needs, and those that may be written down."""

    __slots__ = ("_wanted", "lines", "shapes")

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        noted = {name.lower().encode("latin-1"): name.lower() for name in names}
        self._wanted = {low: (_KINDS.get(low, _PLAIN), noted.get(low)) for low in (*_KINDS, *noted)}
        self.lines = Lines[Known]()
        self.shapes: dict[tuple[bytes, ...], AnswerShape] = {}  # those that connections share

    def read(self, line: bytes) -> Known:
        """A line not seen before. Raises BadAnswer."""
        field = read_field(line)
        if field is None:
            raise BadAnswer("not an HTTP/1 answer head")
        low, name, value = field
        wanted = self._wanted.get(low)
        known = _NOTHING
        if wanted is not None:
            kind, note = wanted
            number = _length(value) if kind == _LENGTH else 0
            known = (kind, (name, value), (note, value.decode("latin-1")) if note is not None else None, number)
        return known if is_id(value) else self.lines.keep(line, known)

    def shape(
        self, literals: tuple[bytes, ...], kinds: list[Kind], *, head: "AnswerHead", places: list[tuple[int, int, str]]
    ) -> "AnswerShape":
        """The shape that all connections have whose servers write alike. Full, all are forgotten."""
        known = self.shapes.get(literals)
        if known is None:
            if len(self.shapes) >= _MOST_SHAPES:
                for shape in self.shapes.values():
                    shape.retire()
                self.shapes.clear()
            known = self.shapes[literals] = AnswerShape(literals, kinds, head=head, places=places)
        return known


def fields_pattern(names: tuple[str, ...] = ()) -> Pattern:
    """Finds the fields that framing needs and those named."""
    return Pattern(names)


DEFAULT_PATTERN: Final = fields_pattern()


def parse_answer(data: bytes, *, to_head: bool, pattern: Pattern) -> AnswerHead:
    """The head in `data`, which ends with its empty line; `to_head`: HEAD was asked. Raises BadAnswer."""
    lines = data[:-4].split(b"\r\n")
    first = lines.pop(0)
    status, http10 = _FIRST.get(first) or _read_first(first)
    get = pattern.lines.get
    length = coding = None
    hop = http10
    fields: list[Named] = []
    notes: list[Note] = []
    for line in lines:
        known = get(line) or pattern.read(line)
        if known is _NOTHING:
            continue
        kind, field, note, number = known
        fields.append(field)
        if note is not None:
            notes.append(note)
        if kind == _PLAIN:
            continue
        if kind == _LENGTH:
            if length is not None:
                raise BadAnswer("content-length twice")
            length = number
            continue
        hop = True
        if kind == _CODING:
            if coding is not None or http10:
                raise BadAnswer("transfer-encoding twice, or in HTTP/1.0")
            coding = field[1].strip(b" \t").lower()
    head = AnswerHead(status, tuple(fields), noted=tuple(notes))
    tokens = _persistence(head, http10=http10) if hop else _NO_TOKENS
    if length is not None and not hop and not to_head and status >= 200 and status not in (204, 304):
        head.framing = BY_LENGTH
        head.length = length
        head.lines = data[:-2]
        return head
    _frame(head, status, length=length, coding=coding, to_head=to_head)
    bodiless = status == 204 and length is not None
    head.lines = _stripped(data, tokens) if hop or bodiless else data[:-2]
    return head


class AnswerShape(Shape):
    """The shape of a server's answers whose length is said, with the head of one; connections share it."""

    __slots__ = ("_head", "_length_at", "_places")

    def __init__(
        self, literals: Sequence[bytes], kinds: Sequence[Kind], *, head: AnswerHead, places: Sequence[tuple[int, int, str]]
    ) -> None:
        """`places`: of each open value that is written down its number, its note's index, and the note's name."""
        super().__init__(literals, kinds)
        self._head = head
        self._places = tuple(places)
        self._length_at = kinds.index(LENGTH)

    def head_of(self, values: tuple[bytes, ...], lines: bytes) -> AnswerHead:
        """The head with these values; `lines` as they go on."""
        head = self._head
        if self._last is not None and values is self._last[1][0]:
            return head  # nothing but the length is open, and it is as it was
        noted = head.noted
        if self._places:
            notes = list(noted)
            for number, index, name in self._places:
                notes[index] = (name, values[number].decode("ascii"))
            noted = tuple(notes)
        length = int(values[self._length_at])
        made = AnswerHead(head.status, (), noted, lines, BY_LENGTH, length)
        if len(values) == 1:
            self._head = made
            self._last = (lines + b"\r\n", (values, len(lines) + 2))
        return made


def answer_shape(raw: bytes, head: AnswerHead, pattern: Pattern) -> AnswerShape | None:
    """The shape of a head just read, where it goes on as it came, with the length of its body in it."""
    whole = head.framing == BY_LENGTH and len(head.lines) == len(raw) - 2
    if not whole or not head.reusable or head.keep_alive_s >= 0 or len(raw) > _MOST_SHAPED_BYTES:
        return None
    literals: list[bytes] = []
    kinds: list[Kind] = []
    places: list[tuple[int, int, str]] = []
    at, notes, end = 0, 0, raw.find(b"\r\n")
    for line in raw[end + 2 : -4].split(b"\r\n"):
        end += 2 + len(line)
        known = pattern.lines.get(line) or pattern.read(line)
        note, value = known[2], line.partition(b": ")[2]
        kind = (LENGTH if LENGTH.fullmatch(value) else None) if known[0] == _LENGTH else kind_of(value)
        if kind is not None:
            if note is not None:
                places.append((len(kinds), notes, note[0]))
            literals.append(raw[at : end - len(value)])
            kinds.append(kind)
            at = end
        notes += note is not None
    literals.append(raw[at:])
    return pattern.shape(tuple(literals), kinds, head=head, places=places) if LENGTH in kinds else None


def _read_first(line: bytes) -> tuple[int, bool]:
    """Status and whether the version is 1.0, of a first line not seen before."""
    if _FIRST_LINE.fullmatch(line) is None:
        raise BadAnswer("not an HTTP/1 answer head")
    return _FIRST.keep(line, (int(line[9:12]), line[7] == 0x30))


def _persistence(head: AnswerHead, *, http10: bool) -> frozenset[bytes]:
    """Whether the connection may be used again; returns what the Connection field names."""
    tokens: set[bytes] = set()
    for name, value in head.fields:
        kind = _KINDS.get(name.lower())
        if kind == _CONNECTION:
            tokens.update(token.strip(b" \t") for token in value.lower().split(b","))
        elif kind == _KEEP_ALIVE:
            timeout = _TIMEOUT.search(value.lower())
            head.keep_alive_s = int(timeout[1]) if timeout else -1
    head.reusable = b"close" not in tokens and (not http10 or b"keep-alive" in tokens)
    return frozenset(tokens)


def _length(value: bytes) -> int:
    digits = value.strip(b" \t")
    if not digits.isdigit() or len(digits) > 15:
        raise BadAnswer("content-length is not a number")
    return int(digits)


def _frame(head: AnswerHead, status: int, *, length: int | None, coding: bytes | None, to_head: bool) -> None:
    """Decides where the body ends (RFC 9112, 6.3)."""
    if coding is not None and (coding != b"chunked" or length is not None):
        raise BadAnswer("a transfer-encoding other than chunked, or beside a content-length")
    if status < 200 or status == 204:
        if coding is not None or length:
            raise BadAnswer("a body where the status allows none")
        head.framing = TUNNEL if status == 101 else NO_BODY
    elif to_head or status == 304:
        head.framing = NO_BODY
        head.length = length or 0
    elif coding is not None:
        head.framing = CHUNKED
    elif length is not None:
        head.framing = BY_LENGTH
        head.length = length
    else:
        head.framing = UNTIL_CLOSE
        head.reusable = False


def _stripped(data: bytes, tokens: frozenset[bytes]) -> bytes:
    """The head's lines without what belongs to one connection only; the version becomes ours."""
    first, *lines = data[:-4].split(b"\r\n")
    no_length = first[9:12] == b"204"
    kept = [b"HTTP/1.1" + first[8:]]
    for line in lines:
        low = line.partition(b":")[0].lower()
        if low in _HOP or low == b"transfer-encoding" or (no_length and low == b"content-length"):
            continue
        if low in tokens and low != b"content-length":
            continue
        kept.append(line)
    kept.append(b"")
    return b"\r\n".join(kept)


class AnswerReader:
    """Follows one answer through pieces cut anywhere. After `feed`: `head`, `raw`, `payload`, `done`, `junk`."""

    __slots__ = (
        "_buffer",
        "_chunks",
        "_interim",
        "_left",
        "_pattern",
        "_to_head",
        "done",
        "head",
        "interim",
        "junk",
        "payload",
        "raw",
    )

    def __init__(self, *, to_head: bool, pattern: Pattern) -> None:
        """`to_head`: HEAD was asked."""
        self.head: AnswerHead | None = None
        self.interim: list[AnswerHead] = []  # 1xx heads that came with the last piece
        self.raw = b""  # body bytes of the last piece as received
        self.payload = b""  # the same without chunk framing
        self.done = False
        self.junk = b""  # bytes after the end: of a tunnel its first ones, otherwise trouble
        self._buffer = b""
        self._chunks: ChunkReader | None = None
        self._interim = 0
        self._left = 0
        self._to_head = to_head
        self._pattern = pattern

    def feed(self, data: bytes) -> None:
        """Takes what came. Raises BadAnswer, also for bytes after the end."""
        head = self.head
        if head is None:
            rest = self._feed_head(self._buffer + data if self._buffer else data)
            if rest is None:
                return
            data = rest
            head = self.head
            assert head is not None
        framing = head.framing
        if framing == BY_LENGTH:
            self.raw = self.payload = data
            self._left -= len(data)
            if self._left <= 0:
                self.done = True
                if self._left < 0:
                    raise BadAnswer("bytes after the end of the body")
        elif framing == CHUNKED:
            self._feed_chunks(data)
        elif framing == UNTIL_CLOSE:
            self.raw = self.payload = data
        else:
            self.done = True
            self.raw = self.payload = b""
            if framing == TUNNEL:
                self.junk = data
            elif data:
                raise BadAnswer("bytes after an answer without a body")

    def end(self) -> bool:
        """The upstream closed cleanly: True where that is how this answer ends."""
        self.raw = self.payload = b""
        self.done = self.head is not None and self.head.framing == UNTIL_CLOSE
        return self.done

    def _feed_chunks(self, data: bytes) -> None:
        assert self._chunks is not None
        try:
            payload, used = self._chunks.feed(data)
        except BadFraming as error:
            raise BadAnswer(str(error)) from error
        self.raw, self.payload = data, payload
        if self._chunks.done:
            self.done = True
            if used != len(data):
                raise BadAnswer("bytes after the last chunk")

    def _feed_head(self, data: bytes) -> bytes | None:
        """Reads heads until the answer's own; returns what follows it, None while it is incomplete."""
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0 or end > MAX_HEAD_BYTES:
                if len(data) > MAX_HEAD_BYTES:
                    raise BadAnswer("the head is too large")
                if not b"HTTP/1."[: len(data)] == data[:7]:
                    raise BadAnswer("not an HTTP/1 answer")
                self._buffer = data
                return None
            head = parse_answer(data[: end + 4], to_head=self._to_head, pattern=self._pattern)
            data = data[end + 4 :]
            if head.status >= 200 or head.status == 101:
                break
            self._interim += 1
            self.interim.append(head)
            if self._interim > MAX_INTERIM:
                raise BadAnswer("too many interim answers")
        self._buffer = b""
        self.head = head
        self._left = head.length
        if head.framing == CHUNKED:
            self._chunks = ChunkReader()
        elif head.framing == BY_LENGTH and not head.length:
            head.framing = NO_BODY
        return data
