"""One answer as the statistics hear of it: its outcome and values under what is measured, read once."""

from typing import Final

import msgspec
from msgspec.structs import replace

from canary.courier.making import content_type
from canary.observe.content import Content
from canary.observe.outcome import STREAM, Outcome
from canary.observe.values import Reader
from canary.stats.facts import Fact
from canary.store.frames import Side

_NOT_KEPT: Final = "not kept"
_UNREADABLE: Final = "unreadable"
_json: Final = msgspec.json.Encoder().encode


class Heard:
    """One side's answer; read under the measures of its route and, should they differ, under those of its rollout."""

    __slots__ = ("_content", "_exchange_id", "_fact", "_reader", "_side", "_unit_hash", "outcome")

    def __init__(self, side: Side, outcome: Outcome, *, exchange_id: bytes, unit_hash: bytes) -> None:
        self.outcome = outcome
        self._side = side
        self._exchange_id = exchange_id
        self._unit_hash = unit_hash
        self._content: Content | None = None
        self._reader: Reader | None = None
        self._fact: Fact | None = None

    def fact(self, reader: Reader) -> Fact:
        """All of it that is scored, but for its digest."""
        if self._fact is None or reader is not self._reader:
            self._fact, self._reader = self._read(reader), reader
        return self._fact

    def fact_with_answer(self, reader: Reader) -> Fact:
        """All of it that is scored. Only a rollout counts digests: they cost too much to be made for nothing."""
        fact = self.fact(reader)
        return replace(fact, answer=reader.digest(self._contents(), self.outcome)) if reader.reads_text else fact

    def _contents(self) -> Content:
        if self._content is None:
            self._content = Content(self._side)
        return self._content

    def is_final(self, *readers: Reader) -> bool:
        """False where its pair may tell more of it: a body that was not kept, and in which somebody looks for something."""
        side = self._side
        if side.body or not side.response_bytes:
            return True
        kind = content_type(side)
        return bool(kind) and not kind.startswith(STREAM) and not any(reader.reads_values for reader in readers)

    def _read(self, reader: Reader) -> Fact:
        outcome = self.outcome
        return Fact(
            age_us=outcome.age_us,
            latency_us=outcome.latency_us,
            failed=outcome.failed,
            left=outcome.left,
            ttfb_us=outcome.ttfb_us,
            exchange_id=self._exchange_id,
            unit_hash=self._unit_hash,
            values=reader.values(self._contents(), outcome) if reader.reads_values else (),
            client_error=outcome.client_error,
        )


def lost_fact(exchange_id: bytes, unit_hash: bytes) -> Fact:
    """Of an answer whose worker died."""
    return Fact(age_us=0, latency_us=-1, failed=True, left=False, lost=True, exchange_id=exchange_id, unit_hash=unit_hash)


def facts_text(reader: Reader, fact: Fact) -> str:
    """The values by name as JSON, for people: a number, null where there was none, or why it cannot be told."""
    if not fact.values:
        return ""
    return _json(dict(zip(reader.names, map(_shown, fact.values), strict=True))).decode()


def _shown(value: float | None) -> float | str | None:
    if value is None or value - value == 0:  # finite
        return value
    return _UNREADABLE if value != value else _NOT_KEPT  # NaN is what differs from itself
