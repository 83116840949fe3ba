"""`canary rollout status --evidence`: a look in full, with intervals, what is needed, and how long that takes."""

from typing import Any, Final

import click

from canary.cli import shown

_MINUS: Final = "-"


def print_evidence(found: dict[str, Any]) -> None:
    """A look for people: metric by metric, then classes, harm and alerts."""
    rollout, rows = found["rollout"], found["metrics"]
    if not rows:
        abstains = (rollout.get("evidence") or {}).get("abstains")
        click.echo(f"no evidence: the statistics abstain ({abstains})" if abstains else "no evidence yet")
        return
    click.echo(f"\nestimates with {found['confidence']:.0%} intervals that hold at every look:")
    shown.print_table(
        ("metric", "candidate", "stable", "difference", "to roll back", "eta", "to promote", "eta"),
        [_row(row) for row in rows if not row["abstains"]],
        empty="",
    )
    for row in rows:
        if row["abstains"]:
            click.echo(f"  {row['metric']} says nothing: {shown.printable(row['abstains'])}")
        for one in row["verdict"]["classes"]:
            click.echo(f"  {row['metric']}, {shown.printable(one['because'])}")
    if found["gates_eta_s"]:
        click.echo(f"all gates: in about {shown.span(found['gates_eta_s'])} at the growth of the last minutes")
    elif found["forecast_from_s"] is None:
        click.echo("no forecast yet: it takes half a minute of growth")


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    estimate = row["estimate"] or {}
    unit = estimate.get("unit", "")
    return (
        row["metric"],
        _number(estimate.get("candidate"), unit, is_rate=not row["mean_candidate"]),
        _number(estimate.get("stable"), unit, is_rate=not row["mean_candidate"]),
        _interval(estimate.get("difference"), is_rate=not row["mean_candidate"]),
        _side(row, "rollback"),
        _eta(row, estimate, "rollback"),
        row["promote_abstains"] or _side(row, "promote"),
        _eta(row, estimate, "promote"),
    )


def _number(value: float | None, unit: str, *, is_rate: bool) -> str:
    if value is None:
        return _MINUS
    return f"{100 * value:.2f} %" if is_rate else f"{value:,.4g} {unit}".strip()


def _interval(found: dict[str, Any] | None, *, is_rate: bool) -> str:
    if found is None:
        return _MINUS
    scale, digits = (100, ".2f") if is_rate else (1, ".4g")
    ends = [f"{scale * end:+{digits}}" if end is not None else "open" for end in (found["lower"], found["upper"])]
    return f"{scale * found['estimate']:+{digits}} [{ends[0]}, {ends[1]}]{' pp' if is_rate else ''}"


def _side(row: dict[str, Any], side: str) -> str:
    log_e, need = row[f"log_e_{side}"], row[f"need_{side}"]
    return _MINUS if log_e is None or need is None else f"{log_e:+.2f} of {need:.2f}"


def _eta(row: dict[str, Any], estimate: dict[str, Any], side: str) -> str:
    log_e, need = row[f"log_e_{side}"], row[f"need_{side}"]
    if log_e is None or need is None:
        return ""
    if log_e >= need:
        return "reached"
    seconds = estimate.get(f"{side}_eta_s")
    return shown.span(seconds) if seconds is not None else _MINUS
