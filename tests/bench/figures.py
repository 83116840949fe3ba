"""Figures of many rounds made small: spreads, ratios within a round, tables for people, JSON for programs."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Round = Mapping[str, float]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def spreads(rounds: Sequence[Round], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """The spread of each named figure over the rounds."""
    return {name: spread([figures[name] for figures in rounds]) for name in names}


def ratio(ours: Sequence[Round], theirs: Sequence[Round], name: str) -> dict[str, float] | None:
    """Spread of ours over theirs, taken within each round: both saw the same noise. None where one of theirs is 0."""
    pairs = [(a[name], b[name]) for a, b in zip(ours, theirs, strict=True)]
    return spread([a / b for a, b in pairs]) if all(b for _, b in pairs) else None


def number(value: float) -> str:
    """Three digits that matter, no more."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def cell(value: Mapping[str, float] | None) -> str:
    """`median (min-max)`, or the one number where they agree."""
    if value is None:
        return "-"
    middle, low, high = (number(value[part]) for part in ("median", "min", "max"))
    return middle if low == high else f"{middle} ({low}-{high})"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, the first to the left."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = []
    for row in (header, ["-" * width for width in widths], *rows):
        cells = [row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Writes the whole result, its folder made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
