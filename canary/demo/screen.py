"""The live terminal view: phase, weight, rate, evidence bars, harmed clients, what happened."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from canary.demo.fitting import Fitting
from canary.demo.scene import Scene, Verdict
from canary.demo.view import closing_lines, verdict_lines
from canary.stats.evidence import Evidence, MetricEvidence

_BAR: Final = 18
_EVENTS: Final = 6
_OTHERS: Final = 8  # lines at most: rule, head, status, reason, and the one that the terminal keeps
_PHASES: Final = ("pending", "shadowing", "canarying", "done")
_PHASE_WORDS: Final = {"pending": "profile", "shadowing": "shadow", "canarying": "canary", "done": "promoted"}


class Screen:
    """Draws scenes in place on a terminal; events and verdicts stay above it."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._live: Live | None = None

    def opening(self, lines: Sequence[str]) -> None:
        """Prints the plan, its first line in bold."""
        self._console.print(lines[0], style="bold", highlight=False)
        for line in lines[1:]:
            self._console.print(line, highlight=False)

    def note(self, line: str) -> None:
        """Prints it."""
        self._console.print(line, style="dim", highlight=False)

    def scene(self, scene: Scene) -> None:
        """Draws the present moment over the last one."""
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(draw(scene, height=self._console.height), refresh=True)

    def event(self, candidate: str, line: str) -> None:
        """Nothing: scenes hold their events."""

    def verdict(self, verdict: Verdict) -> None:
        """Ends the drawing and leaves the verdict."""
        self._end()
        first, *rest = verdict_lines(verdict)
        self._console.print(first, style="bold green" if verdict.right else "bold red", highlight=False)
        for line in rest:
            self._console.print(line, highlight=False)

    def closing(self, verdicts: Sequence[Verdict], console: str, *, stays: bool) -> None:
        """Prints the summary."""
        self._end()
        for line in closing_lines(verdicts, console, stays=stays):
            self._console.print(line, highlight=False)

    def _end(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def draw(scene: Scene, *, height: int) -> RenderableType:
    """One scene as rich renders it, events as far as `height` lines have room for them."""
    seen = scene.seen
    head = Text.assemble(
        (f"candidate {scene.act}: {scene.candidate.version}", "bold"), f" - {scene.candidate.says}   ", _phases(scene)
    )
    status = Text(
        f"{scene.elapsed_s:5.1f} s   {scene.rate:4.0f} requests/s   weight {(seen.weight_bp if seen else 0) / 100:g} %   "
        f"clients harmed by the candidate: {scene.harmed}",
        style="red" if scene.harmed > 5 else "",
    )
    parts: list[RenderableType] = [Rule(style="dim"), head, status]
    rows = 0
    if seen is not None and seen.evidence is not None:
        parts.append(Fitting(_table(seen.evidence), _narrow_table(seen.evidence)))
        rows = 1 + len(seen.evidence.metrics)
    room = min(max(height - rows - _OTHERS, 1), _EVENTS)
    parts += [Text(line, style="dim", overflow="ellipsis", no_wrap=True) for line in scene.events[-room:]]
    if seen is not None and seen.because:
        parts.append(Text(seen.because, style="yellow" if seen.waiting else ""))
    return Group(*parts)


def bar(log_e: float | None, need: float | None) -> str:
    """How far evidence is on its way to what is needed: `████······ 42 %`; empty where that side does not exist."""
    reached = _reached(log_e, need)
    if reached is None:
        return ""
    full = int(reached * _BAR)
    return "█" * full + "·" * (_BAR - full) + f" {reached:4.0%}"


def percent(log_e: float | None, need: float | None) -> str:
    """The same as a number alone."""
    reached = _reached(log_e, need)
    return "" if reached is None else f"{reached:.0%}"


def _reached(log_e: float | None, need: float | None) -> float | None:
    if log_e is None or need is None or need <= 0:
        return None
    return min(max(log_e / need, 0.0), 1.0)


def _phases(scene: Scene) -> Text:
    present = scene.seen.phase if scene.seen else "pending"
    text = Text()
    for phase in _PHASES:
        text.append(f" {_PHASE_WORDS[phase]} ", style="reverse" if phase == present else "dim")
    if present not in _PHASES:
        text.append(f" {present.replace('_', ' ')} ", style="bold red")
    return text


def _table(evidence: Evidence) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    for column in ("metric", "candidate", "stable", "pairs worse / better", "worse than tolerated", "within the margin"):
        table.add_column(column)
    for metric in evidence.metrics:
        table.add_row(*_row(metric))
    return table


def _narrow_table(evidence: Evidence) -> Table:
    """The same numbers without bars."""
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    for column in ("metric", "candidate", "stable", "pairs", "worse", "within"):
        table.add_column(column, no_wrap=True)
    for metric in evidence.metrics:
        name, candidate, stable, *_ = _row(metric)
        pairs = f"{metric.pairs_worse}/{metric.pairs_better}" if metric.pairs else ""
        worse = percent(metric.log_e_rollback, metric.need_rollback)
        within = percent(metric.log_e_promote, metric.need_promote)
        table.add_row(name, candidate, stable, pairs, Text(worse, style="red"), Text(within, style="green"))
    return table


def _row(metric: MetricEvidence) -> list[RenderableType]:
    pairs = f"{metric.pairs_worse} / {metric.pairs_better} of {metric.pairs}" if metric.pairs else ""
    return [
        metric.metric.replace("_", " "),
        f"{metric.bad_candidate}/{metric.n_candidate}" if metric.n_candidate else "",
        f"{metric.bad_stable}/{metric.n_stable}" if metric.n_stable else "",
        pairs,
        Text(bar(metric.log_e_rollback, metric.need_rollback), style="red"),
        Text(bar(metric.log_e_promote, metric.need_promote), style="green"),
    ]
