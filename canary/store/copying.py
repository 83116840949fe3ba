"""Rows as COPY BINARY bytes, fast: one precompiled pack for the fixed columns, a memo for the texts that repeat.

The usual row has all its durations; one that lacks some takes a slower path that writes NULLs.
Instants in Postgres' binary form are microseconds since 2000-01-01.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from struct import Struct, error
from typing import Final, TypeVar

from msgspec.structs import astuple

from canary.errors import DataRefused
from canary.store.rows import BodyRow, OutcomeRow, PairRow

Row = TypeVar("Row")

HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER: Final = b"\xff\xff"
EPOCH_US: Final = 946_684_800_000_000  # 2000-01-01 in microseconds since 1970

_NULL: Final = b"\xff\xff\xff\xff"
_TRUE: Final = b"\x00\x00\x00\x01\x01"
_FALSE: Final = b"\x00\x00\x00\x01\x00"
_LENGTH: Final = Struct("!i")
_INT2: Final = Struct("!ih")
_INT8: Final = Struct("!iq")

OUTCOME_COLUMNS: Final = (
    *("exchange_id", "recorded_at", "start_at", "segment", "stratum", "bucket", "weight_bp", "status", "failed"),
    *("end_us", "attempts", "request_bytes", "response_bytes"),
    *("connect_us", "written_us", "first_byte_us", "latency_us"),
    *("route", "rollout", "lane", "arm", "version", "assigned_by", "method", "ending", "fault", "mirror", "mirror_drop"),
    *("unit_hash", "path", "request_headers", "response_headers", "facts"),
)
PAIR_COLUMNS: Final = (
    *("exchange_id", "recorded_at", "start_at", "segment", "same_status", "lost", "differs"),
    *("live_status", "live_failed", "live_end_us", "live_bytes"),
    *("shadow_status", "shadow_failed", "shadow_end_us", "shadow_bytes"),
    *("live_latency_us", "live_ttfb_us", "shadow_latency_us", "shadow_ttfb_us", "same_body"),
    *("route", "rollout", "live_version", "shadow_version", "live_ending", "shadow_ending", "facts", "shadow_facts"),
)
BODY_COLUMNS: Final = ("exchange_id", "recorded_at", "keep_until", "route", "body")

_OUTCOME: Final = Struct("!h i16s iq iq ii ih ih ih ih i? iq ih iq iq".replace(" ", ""))
_DURATIONS: Final = Struct("!iqiqiqiq")
_PAIR: Final = Struct("!h i16s iq iq ii i? i? i? ih i? iq iq ih i? iq iq".replace(" ", ""))
_BODY: Final = Struct("!h i16s iq iq".replace(" ", ""))


def text(value: str) -> bytes:
    """UTF-8 that Postgres takes: NUL and lone surrogates are escaped."""
    if "\0" in value:
        value = value.replace("\0", "\\x00")
    try:
        return value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "backslashreplace")


def clean(value: str) -> str:
    """The same as text again, for statements with parameters."""
    return text(value).decode()


def _checked(exchange_id: bytes) -> bytes:
    """Pack would fill a short id with zeros and cut a long one, without a word."""
    if len(exchange_id) != 16:
        raise error(f"an exchange id of {len(exchange_id)} bytes")
    return exchange_id


def _field(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value


def _texts(values: Sequence[str], nullable: frozenset[int]) -> bytes:
    return b"".join(_NULL if not v and i in nullable else _field(text(v)) for i, v in enumerate(values))


@lru_cache(maxsize=4096)
def _outcome_texts(values: tuple[str, ...]) -> bytes:
    return _texts(values, _OUTCOME_NULLABLE)


@lru_cache(maxsize=4096)
def _pair_texts(values: tuple[str, ...]) -> bytes:
    return _texts(values, _PAIR_NULLABLE)


@lru_cache(maxsize=8192)
def _long_text(value: str) -> bytes:
    return _field(text(value)) if value else _NULL


_OUTCOME_NULLABLE: Final = frozenset({1, 9, 10})  # rollout, mirror, mirror_drop
_PAIR_NULLABLE: Final = frozenset({1})  # rollout


def _durations(values: Iterable[int]) -> bytes:
    return b"".join(_INT8.pack(8, v) if v >= 0 else _NULL for v in values)


def outcome_bytes(row: OutcomeRow, recorded: int) -> bytes:
    """One row of `outcomes`; `recorded` is microseconds since 2000-01-01."""
    values = astuple(row)
    eid, start, segment, stratum, bucket, weight, status, failed = values[:8]
    connect, written, first, latency, end, attempts, sent, got = values[8:16]
    if connect >= 0 and written >= 0 and first >= 0 and latency >= 0:
        durations = _DURATIONS.pack(8, connect, 8, written, 8, first, 8, latency)
    else:
        durations = _durations((connect, written, first, latency))
    unit_hash, path, asked, answered, facts = values[27:]
    return b"".join(
        (
            _OUTCOME.pack(
                *(33, 16, _checked(eid), 8, recorded, 8, start - EPOCH_US, 4, segment, 2, stratum, 2, bucket, 2, weight),
                *(2, status, 1, failed, 8, end, 2, attempts, 8, sent, 8, got),
            ),
            durations,
            _outcome_texts(values[16:27]),
            _field(unit_hash) if unit_hash else _NULL,
            _field(text(path)),
            _long_text(asked),
            _field(text(answered)) if answered else _NULL,  # holds a request id: as often as not no two are alike
            _field(text(facts)) if facts else _NULL,
        )
    )


def pair_bytes(row: PairRow, recorded: int) -> bytes:
    """One row of `pairs`."""
    values = astuple(row)
    eid, start, segment, status, failed, latency, ttfb, end, size = values[:9]
    s_status, s_failed, s_latency, s_ttfb, s_end, s_size, same_status, same_body, lost = values[9:18]
    if latency >= 0 and ttfb >= 0 and s_latency >= 0 and s_ttfb >= 0:
        durations = _DURATIONS.pack(8, latency, 8, ttfb, 8, s_latency, 8, s_ttfb)
    else:
        durations = _durations((latency, ttfb, s_latency, s_ttfb))
    return b"".join(
        (
            _PAIR.pack(
                *(28, 16, _checked(eid), 8, recorded, 8, start - EPOCH_US, 4, segment, 1, same_status, 1, lost, 1, row.differs),
                *(2, status, 1, failed, 8, end, 8, size, 2, s_status, 1, s_failed, 8, s_end, 8, s_size),
            ),
            durations,
            _NULL if same_body is None else _TRUE if same_body else _FALSE,
            _pair_texts(values[18:24]),
            *[_field(text(facts)) if facts else _NULL for facts in values[24:]],
        )
    )


def body_bytes(row: BodyRow, recorded: int) -> bytes:
    """One row of `bodies`."""
    head = _BODY.pack(5, 16, _checked(row.exchange_id), 8, recorded, 8, row.keep_until_us - EPOCH_US)
    return b"".join((head, _long_text(row.route), _field(row.blob)))


def copy_bytes(rows: Sequence[Row], encode: Callable[[Row, int], bytes], recorded: int) -> bytes:
    """The whole COPY stream of some rows; raises DataRefused for a value that no column holds."""
    try:
        return b"".join((HEADER, *[encode(row, recorded) for row in rows], TRAILER))
    except (error, TypeError) as problem:
        raise DataRefused(f"a row does not fit its columns: {problem}") from problem
