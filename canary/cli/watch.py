"""`canary rollout watch`: follows one rollout until it is decided."""

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

from canary.cli import shown
from canary.cli.client import Admin, path_of
from canary.errors import CanaryError
from canary.rollout import words as told

if TYPE_CHECKING:
    from rich.console import RenderableType

_EVERY_S: Final = 0.5
_FORGIVEN_S: Final = 10.0
_OVER: Final = frozenset({"done", "rolled_back", "cancelled"})


class Following:
    """One rollout, followed to where it is decided."""

    def __init__(self, admin: Admin, rollout: str, *, timeout_s: float | None, to_the_end: bool) -> None:
        self._admin = admin
        self._rollout = rollout
        self._timeout_s = timeout_s
        self._decided = _OVER if to_the_end else _OVER | {"watching"}

    def run(self, *, as_json: bool) -> int:
        """Exit code 0 promoted, 3 rolled back, 4 undecided (cancelled, or out of time)."""
        if as_json or not shown.lively():
            return self._follow(_Lines(as_json))
        from rich.live import Live

        with Live(auto_refresh=False, transient=False) as live:
            return self._follow(lambda found: live.update(_view(found), refresh=True))

    def _follow(self, show: Callable[[dict[str, Any]], None]) -> int:
        begin = heard = time.monotonic()
        found: dict[str, Any] | None = None
        while True:
            try:
                found = self._admin.get(path_of(self._rollout))
                heard = time.monotonic()
                show(found)
            except CanaryError:
                if found is None or time.monotonic() - heard > _FORGIVEN_S:
                    raise  # a restart of the controller takes a moment; more than that is news
            if found is not None and found["phase"] in self._decided:
                return shown.exit_code(found)
            if self._timeout_s is not None and not time.monotonic() - begin < self._timeout_s:  # what is no number too
                return shown.UNDECIDED
            time.sleep(_EVERY_S)


class _Lines:
    """One line a change."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._said: Any = None

    def __call__(self, found: dict[str, Any]) -> None:
        """Prints what is new; the evidence's numbers or an acknowledgement alone are no change."""
        news = (shown.stands(found), found.get("waiting"), found.get("because"))
        if news == self._said:
            return
        self._said = news
        if self._as_json:
            click.echo(json.dumps(found, ensure_ascii=False))
            return
        because = str(found.get("because") or "created")
        more = f" ({waiting})" if (waiting := _waiting(found, because)) else ""
        click.echo(f"{time.strftime('%H:%M:%S')}  {shown.stands(found)}: {because}{more}")
        for alert in _troubles(found):
            click.echo(f"          alert: {alert}")


def _view(found: dict[str, Any]) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from canary.demo.fitting import Fitting

    head = Text.assemble(
        (f"{found['route']}  ", "bold"), f"{found['stable']} → {found['candidate']}  ", (shown.stands(found), _colour(found))
    )
    because = str(found.get("because") or "created")
    lines = [head, Text(because)]
    if waiting := _waiting(found, because):
        lines.append(Text(waiting, style="yellow"))
    lines += [Text(f"alert: {alert}", style="bold red") for alert in _troubles(found)]
    metrics = (found.get("evidence") or {}).get("metrics", ())
    if not metrics:
        return Group(*lines, Text("no evidence yet", style="dim"))
    table, narrow = Table(box=None, pad_edge=False), Table(box=None, pad_edge=False, show_header=False)
    for name in ("metric", "candidate", "stable", "pairs worse/better", "rollback", "promote"):
        table.add_column(name)
    for metric in metrics:
        table.add_row(*_cells(metric))
        narrow.add_row(Text(metric["metric"], no_wrap=True), shown.metric_words(metric))
    return Group(*lines, Fitting(table, narrow))


def _waiting(found: dict[str, Any], because: str) -> str:
    """What it waits for, where the reason does not say so already."""
    waiting = f"waiting: {found['waiting']}" if found.get("waiting") else ""
    return "" if waiting == because else waiting


def _troubles(found: dict[str, Any]) -> list[str]:
    """What keeps the controller, or this terminal, from looking."""
    alerts = found.get("alerts", ())
    return [shown.printable(alert["because"]) for alert in alerts if alert["name"] in {"trouble", "unseen"}]


def _colour(found: dict[str, Any]) -> str:
    return {"rolled_back": "bold red", "done": "bold green", "watching": "bold green"}.get(found["phase"], "bold cyan")


def _cells(metric: dict[str, Any]) -> list[str]:
    cells = [metric["metric"]]
    if metric.get("abstains"):
        return [*cells, f"says nothing: {metric['abstains']}", "", "", "", ""]
    cells += [shown.arm_words(metric, arm) or "none yet" for arm in ("candidate", "stable")]
    cells.append(f"{metric['pairs_worse']:,}/{metric['pairs_better']:,} of {metric['pairs']:,}" if metric["pairs"] else "none")
    return [*cells, *(told.evidence(metric[f"log_e_{side}"], metric[f"need_{side}"]) for side in ("rollback", "promote"))]
