"""How values are printed: JSON for programs, tables and sentences for people."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

from canary.rollout import words as told

ROLLED_BACK: Final = 3
UNDECIDED: Final = 4
_SAID: Final = {"done": "promoted (done)"}
_GOOD: Final = frozenset({"done", "watching"})


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--json`: for programs."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def lively() -> bool:
    """Whether a live view can be drawn: on a terminal that can go back a line."""
    return sys.stdout.isatty() and os.environ.get("TERM", "").lower() not in {"dumb", "unknown"}


def print_json(value: Any) -> None:
    """Indented, in the order given."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """A plain table as wide as its content; one sentence where there are no rows."""
    cells = [[_cell(value) for value in row] for row in rows]
    if not cells:
        click.echo(empty)
        return
    widths = [max(len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(columns)]
    click.echo("  ".join(name.upper().ljust(width) for name, width in zip(columns, widths, strict=True)).rstrip())
    for row in cells:
        click.echo("  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip())


def exit_code(rollout: dict[str, Any]) -> int:
    """0 promoted, 3 rolled back, 4 anything that is not decided."""
    if rollout["phase"] in _GOOD:
        return 0
    return ROLLED_BACK if rollout["phase"] == "rolled_back" else UNDECIDED


def percent(basis_points: int) -> str:
    """100 -> `1%`."""
    return f"{basis_points / 100:g}%"


def stands(rollout: dict[str, Any]) -> str:
    """Where a rollout stands, in a few words."""
    words = _SAID.get(rollout["phase"], str(rollout["phase"]).replace("_", " "))
    if rollout["phase"] == "shadowing":
        words += f" {percent(rollout['shadow_bp'])}"
    elif rollout["phase"] == "canarying":
        words += f" {percent(rollout['weight_bp'])} (stage {rollout['stage'] + 1} of {len(rollout['stages'])})"
    elif rollout["phase"] == "watching":
        words += f" (holdback {percent(10_000 - rollout['weight_bp'])})"
    words += ", paused" if rollout.get("paused") else ""
    trouble = rollout.get("trouble")
    return words + (f", looks fail since {trouble['since'][11:19]}" if trouble else "")


def ago(text: str) -> str:
    """`3 min ago` of an ISO instant."""
    at = datetime.fromisoformat(text)
    seconds = (datetime.now(tz=UTC) - at).total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def metric_line(metric: dict[str, Any]) -> str:
    """One metric's evidence in one line: rates per arm, pairs, evidence against what is needed."""
    return f"{metric['metric']:<14}{' ' if metric.get('abstains') else '  '}{metric_words(metric)}"


def metric_words(metric: dict[str, Any]) -> str:
    """The same without its name."""
    if metric.get("abstains"):
        return f"says nothing: {metric['abstains']}"
    words = [f"{arm} {found}" for arm in ("candidate", "stable") if (found := arm_words(metric, arm))]
    if metric.get("pairs"):
        words.append(f"pairs {metric['pairs']:,}: {metric['pairs_worse']:,} worse, {metric['pairs_better']:,} better")
    if not words:
        words.append("nothing counted yet")
    for side in ("rollback", "promote"):
        evidence = told.evidence(metric.get(f"log_e_{side}"), metric.get(f"need_{side}"))
        words += [f"{side} {evidence}"] if evidence else []
    return "  ".join(words)


def arm_words(metric: dict[str, Any], arm: str) -> str:
    """One arm's rate or mean; empty where nothing was counted."""
    n, bad, mean = metric[f"n_{arm}"], metric[f"bad_{arm}"], metric.get(f"mean_{arm}")
    if mean is not None:
        return f"{told.amount(mean, metric.get('unit', ''))} of {n:,}"
    return f"{told.share(bad, n)} ({bad:,}/{n:,})" if n else ""


def printable(text: str) -> str:
    """Without control characters: what an upstream answered must not steer the terminal of who reads it."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    return printable(str(value))
