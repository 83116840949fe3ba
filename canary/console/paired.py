"""What the pair pages show: one line a pair, and both answers side by side."""

from typing import Final

from canary.rollout.declared import Declared, declared, in_short
from canary.store.pairs import PairDetail, PairSide, PairSummary
from canary.terms import Frozen, Measures

_SHOWN: Final = "not recorded"


class Line(Frozen, frozen=True, kw_only=True):
    """One pair in the list."""

    id: str
    route: str
    when: str
    live: str
    shadow: str
    word: str
    tone: str
    values: str  # declared values in one line; empty where none are stored


class Half(Frozen, frozen=True, kw_only=True):
    """One version's answer."""

    title: str
    version: str
    facts: tuple[tuple[str, str], ...]
    body: str


class Sheet(Frozen, frozen=True, kw_only=True):
    """One pair."""

    line: Line
    request: str
    request_body: str
    declared: tuple[Declared, ...]
    halves: tuple[Half, Half]


def line_of(pair: PairSummary, measures: Measures | None = None) -> Line:
    """A pair in one line."""
    word, tone = _word(pair)
    return Line(
        id=pair.exchange_id,
        route=pair.route,
        when=pair.start_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        live=_short(pair.live),
        shadow=_short(pair.shadow),
        word=word,
        tone=tone,
        values=in_short(_declared(pair, measures)),
    )


def sheet_of(pair: PairDetail, measures: Measures | None = None) -> Sheet:
    """A pair with both answers."""
    bodies = pair.bodies
    return Sheet(
        line=line_of(pair.summary, measures),
        request=f"{pair.method} {pair.path}".strip() or _SHOWN,
        request_body=_text(bodies.request, bodies.request_truncated) if bodies else _SHOWN,
        declared=_declared(pair.summary, measures),
        halves=(
            _half("Live answer", pair.summary.live, _text(bodies.live, bodies.live_truncated) if bodies else _SHOWN),
            _half("Shadow answer", pair.summary.shadow, _text(bodies.shadow, bodies.shadow_truncated) if bodies else _SHOWN),
        ),
    )


def _declared(pair: PairSummary, measures: Measures | None) -> tuple[Declared, ...]:
    return declared(measures, pair.live.facts, pair.shadow.facts)


def _half(title: str, side: PairSide, body: str) -> Half:
    facts = (
        ("Version", side.version),
        ("Status", str(side.status or "none")),
        ("Ended", side.ending.replace("_", " ")),
        ("Failed", "yes" if side.failed else "no"),
        ("First byte", _ms(side.ttfb_us)),
        ("Latency", _ms(side.latency_us)),
        ("Size", f"{side.bytes} bytes"),
    )
    return Half(title=title, version=side.version, facts=facts, body=body)


def _short(side: PairSide) -> str:
    return f"{side.version}: {side.status or side.ending}, {_ms(side.latency_us)}{', failed' if side.failed else ''}"


def _ms(us: int | None) -> str:
    return "never" if us is None or us < 0 else f"{us / 1000:.1f} ms"


def _word(pair: PairSummary) -> tuple[str, str]:
    if pair.lost:
        return "shadow lost", "bad"
    if not pair.same_status:
        return "statuses differ", "bad"
    if pair.differs:
        return "answers differ", "busy"
    return ("same answer", "good") if pair.same_body else ("same status", "good")


def _text(body: bytes, truncated: bool) -> str:
    if not body:
        return "empty"
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return f"{len(body)} bytes that are no text"
    return text + ("\n… cut at the recording limit" if truncated else "")
