"""The proxy bench: us and every peer in interleaved rounds on one core, load and upstream on another."""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.builds import pure, shipped
from tests.bench.figures import cell, number, ratio, spreads, table
from tests.bench.machine import cores
from tests.bench.peers import PEERS, Order, Running, Skipped
from tests.bench.process import StartError, core_busy_s, cpu_s_by_thread, cpu_s_since, free_port, resident_mb
from tests.bench.product import canary
from tests.bench.proxy_cases import DEAD, IDS, SITES, Case, Entrant
from tests.bench.traffic import Load, Upstream, run_load

SETTLE_S = 0.15  # copies that are under way when the load ends
SPREAD = ("rps", "cpu_us", "p99_us")  # shown with least and greatest; of the rest the median
FIGURES = ("rps", "cpu_us", "p50_us", "p99_us", "rss_mb", "copied_pct", "failed", "proxy_pct", "tools_pct", "other_pct")
OURS = ("canary", "canary-pure")
NAMES = (*OURS, *PEERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured."""

    rounds: int
    seconds: float
    warm_up_s: float
    alike: bool = False  # every request's head is the same, and every answer's


@dataclass(slots=True, kw_only=True)
class Contender:
    """One entrant, started, with its rounds."""

    entrant: Entrant
    proxy: Running
    rounds: list[dict[str, float]] = field(default_factory=list)


@dataclass(slots=True)
class ProxyBench:
    """Measures cases one after the other."""

    tools: dict[str, Path]
    folder: Path
    effort: Effort
    product: Path | None = None  # an interpreter that has the product installed; None: as a wheel of this source holds it
    skipped: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def measure(self, case: Case, peers: Sequence[str]) -> dict[str, Any] | None:
        """One case with those peers that are there; None where none is."""
        with ExitStack() as stack:
            sites = SITES if self.effort.alike else {name: f"{options},{IDS}".strip(",") for name, options in SITES.items()}
            upstream = stack.enter_context(Upstream(self.tools["upstream"], sites, core=cores()[1]))
            contenders = self._start(case, peers, upstream, stack)
            if not contenders:
                return None
            for count in range(1, self.effort.rounds + 1):
                for contender in contenders:
                    figures = self._round(case, contender.proxy, upstream)
                    contender.rounds.append(figures)
                    contender.proxy.between_rounds()
                    _progress(case, count, contender.entrant.label, figures)
            return _summary(case, contenders)

    def _start(self, case: Case, peers: Sequence[str], upstream: Upstream, stack: ExitStack) -> list[Contender]:
        started = []
        folder = self.folder / case.name
        folder.mkdir()
        for entrant in case.entrants:
            if entrant.peer not in peers:
                continue
            candidate = free_port() if entrant.candidate == DEAD else upstream.ports[entrant.candidate]
            order = Order(
                label=entrant.label,
                mix=entrant.mix or case.mix,
                stable_port=upstream.ports["stable"],
                candidate_port=candidate,
                core=cores()[0],
                folder=folder,
                tools=self.tools,
            )
            try:
                proxy = self._starter(entrant.peer)(order)
            except (Skipped, StartError) as reason:
                self.skipped[entrant.peer] = str(reason)
                continue
            stack.callback(proxy.stop)
            self.versions[entrant.peer] = proxy.version
            started.append(Contender(entrant=entrant, proxy=proxy))
        return started

    def _starter(self, peer: str) -> Callable[[Order], Running]:
        if peer in OURS:
            build = shipped(self.product) if peer == "canary" else pure()
            return lambda order: canary(order, build)
        return PEERS[peer]

    def _round(self, case: Case, proxy: Running, upstream: Upstream) -> dict[str, float]:
        """Warms up, then measures once."""
        proxy_core, tools_core = cores()
        proxy.prefer()
        ids = not self.effort.alike
        warm_up = Load(seconds=self.effort.warm_up_s, rate=case.rate, ids=ids)
        load = Load(seconds=self.effort.seconds, rate=case.rate, ids=ids)
        run_load(self.tools["load"], warm_up, port=proxy.port, upstream=upstream, core=tools_core)
        time.sleep(SETTLE_S)
        counts, core_before = upstream.counts(), core_busy_s(proxy_core)
        spent_before, began = cpu_s_by_thread(proxy.pids()), time.monotonic()
        answered = run_load(self.tools["load"], load, port=proxy.port, upstream=upstream, core=tools_core)
        wall_s = time.monotonic() - began
        in_load_s = cpu_s_since(spent_before, proxy.pids())
        core_s = core_busy_s(proxy_core) - core_before
        time.sleep(SETTLE_S)
        spent_s = cpu_s_since(spent_before, proxy.pids())
        counts_now, report = upstream.counts(), answered.report
        whole = max(report["answered"], 1)
        copied = sum(counts_now[site]["requests"] - counts[site]["requests"] for site in SITES if site != "stable")
        return {
            "rps": report["rps"],
            "cpu_us": 1e6 * spent_s / whole,
            "p50_us": report["latency_us"]["p50"],
            "p99_us": report["latency_us"]["p99"],
            "p999_us": report["latency_us"]["p999"],
            "rss_mb": resident_mb(proxy.pids()),
            "copied_pct": 100 * copied / whole,
            "failed": report["failed"] + report["unsent"] + report["not_2xx"],
            "proxy_pct": 100 * in_load_s / wall_s,
            "tools_pct": 100 * answered.tools_cpu_s / wall_s,
            "other_pct": max(0.0, 100 * (core_s - in_load_s) / wall_s),
        }


def _progress(case: Case, count: int, label: str, figures: dict[str, float]) -> None:
    sys.stderr.write(
        f"{case.name:12} round {count}  {label:11} {figures['rps']:9,.0f}/s {figures['cpu_us']:7.1f} us"
        f"  p50 {figures['p50_us']:7.0f}  p99 {figures['p99_us']:7.0f}  failed {figures['failed']:.0f}\n"
    )


def _summary(case: Case, contenders: Sequence[Contender]) -> dict[str, Any]:
    return {
        "name": case.name,
        "says": case.says,
        "rate": case.rate,
        "figures": {c.entrant.label: spreads(c.rounds, FIGURES) for c in contenders},
        "ratios": _ratios(case, {c.entrant.label: c.rounds for c in contenders}),
        "rounds": {c.entrant.label: c.rounds for c in contenders},
    }


def _ratios(case: Case, rounds: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, Any]]:
    """Each build of ours over each peer's; where the case has a reference run, each other run over it."""
    if case.reference:
        pairs = [(label, case.reference) for label in rounds]
    else:
        pairs = [(ours, label) for ours in OURS for label in rounds if label not in OURS]
    over = {}
    for upper, lower in pairs:
        if upper != lower and upper in rounds and lower in rounds:
            compared = {name: ratio(rounds[upper], rounds[lower], name) for name in case.compared}
            over[f"{upper} / {lower}"] = {name: value for name, value in compared.items() if value is not None}
    return over


def render(summary: dict[str, Any]) -> str:
    """One case as a table, with the ratios under it."""
    header = ["", "req/s", "CPU us/req", "p50 us", "p99 us", "RSS MB", "to cand. %", "failed", "proxy %", "tools %", "other %"]
    rows = [
        [label, *(cell(figures[name]) if name in SPREAD else number(figures[name]["median"]) for name in FIGURES)]
        for label, figures in summary["figures"].items()
    ]
    lines = [f"{summary['name']}: {summary['says']}", table(header, rows)]
    for what, ratios in summary["ratios"].items():
        lines.append(f"  {what}: " + ", ".join(f"{name} {cell(value)}" for name, value in ratios.items()))
    return "\n".join(lines)
