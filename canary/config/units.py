"""Friendly units: shares in exact basis points, durations in seconds, sizes in bytes, margins as people write them."""

import re
from decimal import Decimal
from typing import Final, NamedTuple

from canary.terms import BUCKETS

_NUMBER: Final = r"([0-9]{1,15}(?:\.[0-9]{1,12})?)"
_SHARE: Final = re.compile(rf"{_NUMBER}\s*%")
_DURATION_PART: Final = re.compile(rf"{_NUMBER}\s*(ms|s|m|h|d)")
_SIZE: Final = re.compile(rf"{_NUMBER}\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)?")
_LINEAR: Final = re.compile(rf"{_NUMBER}\s*x(?:\s*\+\s*{_NUMBER}\s*(pp|%))?|{_NUMBER}\s*(pp)")

_AMOUNT: Final = re.compile(rf"{_NUMBER}\s*x(?:\s*\+\s*{_NUMBER})?|\+\s*{_NUMBER}")
_POSITIVE: Final = re.compile(rf"{_NUMBER}(?:[eE]([+-]?[0-9]{{1,3}}))?")

_SECONDS: Final = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3_600), "d": Decimal(86_400)}
_BYTES: Final = {
    "B": 1,
    "kB": 1_000,
    "KB": 1_000,
    "MB": 1_000_000,
    "GB": 1_000_000_000,
    "KiB": 1_024,
    "MiB": 1_048_576,
    "GiB": 1_073_741_824,
}


def share_bp(text: str) -> int:
    """A share such as "5%" or "0.25%" in basis points, exactly; ValueError says what was expected."""
    found = _SHARE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"expected a share with a percent sign such as 5% or 0.25%, found {text!r}")
    scaled = Decimal(found[1]) * 100
    if scaled != scaled.to_integral_value():
        raise ValueError(f"a share is exact to 0.01%, found {text!r}")
    if scaled > 10_000:
        raise ValueError(f"a share is at most 100%, found {text!r}")
    return int(scaled)


def format_share(bp: int) -> str:
    """Basis points as `share_bp` reads them."""
    return f"{Decimal(bp) / 100:f}%" if bp % 100 else f"{bp // 100}%"


def seconds(text: str) -> float:
    """A duration such as "30s", "5m", "1h30m" or "14d" in seconds; a bare 0 needs no unit."""
    stripped = text.strip()
    if stripped == "0":
        return 0.0
    total, at = Decimal(0), 0
    for part in _DURATION_PART.finditer(stripped):
        if part.start() != at:
            break
        total += Decimal(part[1]) * _SECONDS[part[2]]
        at = part.end()
    if not stripped or at != len(stripped):
        raise ValueError(f"expected a duration with its unit (ms, s, m, h, d) such as 30s or 5m, found {text!r}")
    return float(total)


def format_seconds(value: float) -> str:
    """Seconds as `seconds` reads them, in the largest unit that keeps them whole."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if value and value % size == 0:
            return f"{int(value // size)}{unit}"
    milli = round(value * 1_000)
    return f"{milli // 1_000}s" if milli % 1_000 == 0 else f"{milli}ms"


def size_bytes(text: str) -> int:
    """A size such as "1MiB", "64kB" or a plain number of bytes."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"expected a size such as 1MiB, 64kB or a number of bytes, found {text!r}")
    value = Decimal(found[1]) * _BYTES[found[2] or "B"]
    if value != value.to_integral_value():
        raise ValueError(f"a size is a whole number of bytes, found {text!r}")
    return int(value)


def ratio(text: str) -> float:
    """A relative increase such as "10%" or "100%" as a fraction; may be over 100 %."""
    found = _SHARE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"expected a relative increase such as 10%, found {text!r}")
    return float(Decimal(found[1]) / 100)


def linear(text: str) -> tuple[float, float]:
    """A margin such as "1.5x + 0.1pp", "2x" or "3pp" as (rho, delta) of rho*mu + delta."""
    found = _LINEAR.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"expected a margin such as 1.5x + 0.1pp, 2x or 0.5pp, found {text!r}")
    rho = Decimal(found[1] or 1)
    delta = Decimal(found[2] or found[4] or 0) / 100
    if rho < 1:
        raise ValueError(f"a margin is at least 1x, found {text!r}")
    if delta >= 1:
        raise ValueError(f"a margin is less than 100pp, found {text!r}")
    return float(rho), float(delta)


class Limit(NamedTuple):
    """A limit and how it was written: a share ("2%", as a fraction), a duration ("2s", in seconds) or a bare amount."""

    value: float
    kind: str  # "share", "duration", "amount"


def limit(text: str) -> Limit:
    """A limit of the candidate alone such as "2%", "1.5s" or 0.01; ValueError says what was expected."""
    if "%" in text:
        return Limit(share_bp(text) / BUCKETS, "share")
    try:
        return Limit(positive(text), "amount")
    except ValueError:
        pass
    try:
        return Limit(seconds(text), "duration")
    except ValueError:
        raise ValueError(f"expected a share such as 2%, a duration such as 1.5s or an amount above 0, found {text!r}") from None


class Margin(NamedTuple):
    """A margin rho*mu + delta of a declared metric; whether delta is meant as points of a rate, where it was said."""

    rho: float
    delta: float
    points: bool | None = None


def margin(text: str) -> Margin:
    """A margin of a rate ("1.1x + 0.2pp") or of an amount ("1.02x", "1.1x + 0.5", "+ 0.5", in the values' own unit)."""
    stripped = text.strip()
    if (found := _AMOUNT.fullmatch(stripped)) is not None:
        delta = found[2] or found[3]
        rho = Decimal(found[1] or 1)
        if rho < 1:
            raise ValueError(f"a margin is at least 1x, found {text!r}")
        return Margin(float(rho), float(delta or 0), None if delta is None else False)
    if _LINEAR.fullmatch(stripped) is None:
        raise ValueError(f"expected a margin such as 1.02x, 1.1x + 0.5 or, of a rate, 1.1x + 0.2pp, found {text!r}")
    return Margin(*linear(text), points=True)


def positive(text: str) -> float:
    """A finite number above 0 such as 1, 0.25 or 5e6."""
    found = _POSITIVE.fullmatch(text.strip())
    value = float(text) if found is not None else 0.0
    if not 0 < value < float("inf"):
        raise ValueError(f"expected a finite number above 0, found {text!r}")
    return value


def net_loss(text: str) -> float:
    """A net share of lost pairs such as 0.05, from 0 to below 1."""
    value = float(text) if re.fullmatch(r"[0-9](?:\.[0-9]{1,12})?", text.strip()) else 1.0
    if value >= 1:
        raise ValueError(f"expected a net share of lost pairs from 0 to below 1 such as 0.05, found {text!r}")
    return value
