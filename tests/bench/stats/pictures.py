"""The pictures of the operating curves, from the tables' rows."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from tests.bench.stats.draws import EQUAL, Change, Floats, draw, fixed
from tests.bench.stats.rules import ALONE, ALPHAS, OURS, Case
from tests.bench.stats.svg import Chart, Scale, short

Rows = Sequence[dict[str, Any]]

LOOKS: Final = {
    OURS: ("ours", "circle"),
    ALONE: ("alone", "diamond"),
    "mSPRT": ("msprt", "triangle"),
    "t-test each 5 s": ("peek", "triangle"),
    "t-test each 60 s": ("peek", "square"),
    "Kayenta, 10 s points": ("kayenta", "circle"),
    "Kayenta, 60 s points": ("kayenta", "square"),
    "Flagger, 1 failed check": ("flagger", "circle"),
    "Flagger, 5 failed checks": ("flagger", "square"),
    "Argo 95 %, 5 min, limit 3": ("argo", "circle"),
    "Argo 99 %, 60 s, limit 0": ("argo", "diamond"),
    "Argo 99 %, 60 s, limit 3": ("argo", "square"),
    "arbr, each 5 min": ("arbr", "circle"),
    "arbr's estimates each 60 s": ("arbr", "square"),
}
"""Colour and shape of each rule."""

N: Final = 100_000


def of(rows: Rows, **where: Any) -> list[dict[str, Any]]:
    """The rows that agree with every field given."""
    return [row for row in rows if all(row[name] == value for name, value in where.items())]


def false_rollbacks(rows: Rows) -> Chart:
    """How often an equal candidate is rolled back by any of its metrics."""
    columns = [
        ("equal", "5 %", "5 %"),
        ("equal", "50 %", "50 %"),
        ("equal", "1-5-25-50 %", "ramp"),
        ("equal, drifting", "1-5-25-50 %", "drifting ramp"),
    ]
    height = 96 + 22 * len(LOOKS) + 40
    runs = max((row["runs"] for row in of(rows, metric="family")), default=0)
    words = f"share of {runs:,} runs of 100,000 requests in which any of its metrics rolls back; dashed: 5 %"
    words += "; 'alone' spends 5 % on each of four"
    chart = Chart(
        980,
        height,
        "False rollbacks of an equal candidate",
        under=words,
    )
    for column, (world, schedule, label) in enumerate(columns):
        left = 220 + column * 190
        scale = Scale(0, 1, left, left + 150)
        chart.text(left, 80, label, kind="ink panel")
        chart.line(scale(0), 88, scale(0), height - 36)
        chart.line(scale(0.05), 88, scale(0.05), height - 36, kind="limit")
        for place, (rule, (colour, _)) in enumerate(LOOKS.items()):
            y = 96 + 22 * place
            if column == 0:
                chart.text(208, y + 11, rule, anchor="end")
            for row in of(rows, world=world, schedule=schedule, metric="family", rule=rule):
                share = row["rolled_back"] / row["runs"]
                chart.bar(scale(0), y, scale(share) - scale(0), 13, colour=colour)
                chart.text(
                    scale(max(share, 0.05)) + 5, y + 11, f"{share:.3f}".removeprefix("0") if share else "0", kind="soft small"
                )
    return chart


def delays(rows: Rows, schedule: str) -> Chart:
    """Requests until a bad candidate is rolled back: median, and a line to the ninth tenth."""
    bad = [row for row in of(rows, schedule=schedule) if not row["world"].startswith("equal")]
    worlds = list(dict.fromkeys(row["world"] for row in bad))
    shown = [rule for rule in LOOKS if rule not in {"t-test each 60 s", "Argo 95 %, 5 min, limit 3"}]
    step = 14 + 9 * len(shown)
    height = 116 + step * len(worlds)
    words = "median requests until the rollback, line to 90 % of runs; a mark at the right edge: not within 100,000 requests"
    chart = Chart(980, height, f"Delay of detection, candidate at {schedule}", under=words)
    scale = Scale(10, N, 180, 930, log=True)
    _legend(chart, shown, 70)
    for value in scale.decades():
        chart.line(scale(value), 104, scale(value), height - 10)
        chart.text(scale(value), 102, short(value), kind="soft small", anchor="middle")
    for block, world in enumerate(worlds):
        top = 112 + block * step
        chart.text(170, top + step / 2, world, anchor="end", kind="ink panel")
        chart.line(20, top - 4, 960, top - 4)
        found = {row["rule"]: row for row in bad if row["world"] == world}
        for place, rule in enumerate(rule for rule in shown if rule in found):
            y, (colour, shape) = top + 8 + 9 * place, LOOKS[rule]
            median, p90 = found[rule]["median"], found[rule]["p90"]
            if median is not None:
                chart.line(scale(median), y, scale(p90 or N) + (0 if p90 else 14), y, colour=colour)
                chart.mark(scale(median), y, colour, shape=shape, size=3.6)
            else:
                chart.mark(scale(N) + 18, y, colour, shape=shape, size=3.6)
    return chart


def _legend(chart: Chart, rules: Sequence[str], top: float) -> None:
    """Names beside their marks, in two lines."""
    half = math.ceil(len(rules) / 2)
    for place, rule in enumerate(rules):
        colour, shape = LOOKS[rule]
        x, y = 24 + place % half * 158, top + place // half * 16
        chart.mark(x, y - 4, colour, shape=shape, size=3.6)
        chart.text(x + 9, y, rule, kind="soft small")


DIALS: Final = (
    ("canary, alone (level .2 to .001)", [f"alone@{alpha:g}" for alpha in ALPHAS], "alone"),
    ("t-test each 60 s (level .1 to .0001)", [f"t@{z:g}" for z in (1.28, 1.645, 2.33, 3.09, 3.72)], "peek"),
    ("Flagger (1 to 7 failed checks)", [f"flagger@{k}" for k in (1, 2, 3, 4, 5, 7)], "flagger"),
)
POINTS: Final = (OURS, "mSPRT", "Kayenta, 10 s points", "Kayenta, 60 s points", "Argo 99 %, 60 s, limit 3", "arbr, each 5 min")
PANELS: Final = (
    ("errors .5 -> 1 %", "errors"),
    ("errors .5 -> 2 %", "errors"),
    ("errors .5 -> 10 %", "errors"),
    ("outage", "errors"),
    ("latency x1.25", "latency"),
    ("slowest tenth x2", "latency"),
    ("cost x1.20", "cost"),
    ("quality -3 pt", "quality"),
)


def tradeoff(rows: Rows, schedule: str) -> Chart:
    """False rollbacks against delay, a panel for each regression; down and left is better."""
    words = (
        f"candidate at {schedule}; below: median requests to the rollback, left: false rollbacks by the same rule and metric"
    )
    chart = Chart(1040, 640, "False alarms against delay", under=words + "; down and left is better")
    x = 24.0
    for name, _, colour in DIALS:
        chart.path([(x, 66), (x + 16, 66)], colour, width=2)
        chart.mark(x + 8, 66, colour, size=3)
        chart.text(x + 22, 70, name, kind="soft small")
        x += 34 + 6.1 * len(name)
    x = 24.0
    for rule in POINTS:
        colour, shape = LOOKS[rule]
        chart.mark(x + 8, 84, colour, shape=shape, size=4)
        chart.text(x + 18, 88, rule, kind="soft small")
        x += 34 + 6.1 * len(rule)
    for place, (world, metric) in enumerate(PANELS):
        _panel(chart, rows, (world, schedule, metric), (60 + place % 4 * 250, 124 + place // 4 * 262))
    return chart


def _panel(chart: Chart, rows: Rows, what: tuple[str, str, str], corner: tuple[float, float]) -> None:
    (world, schedule, metric), (left, top) = what, corner
    across, up = Scale(10, N, left, left + 190, log=True), Scale(0.001, 1, top + 190, top + 10, log=True)
    chart.text(left, top, world, kind="ink panel")
    for value in across.decades():
        chart.line(across(value), top + 10, across(value), top + 190)
        chart.text(across(value), top + 206, short(value), kind="soft small", anchor="middle")
    for value in up.decades():
        chart.line(left, up(value), left + 190, up(value))
        chart.text(left - 6, up(value) + 4, "0" if value < 0.002 else short(value), kind="soft small", anchor="end")
    chart.line(left, up(0.05), left + 190, up(0.05), kind="limit")

    def places(rules: Sequence[str]) -> list[tuple[float, float]]:
        found = []
        for rule in rules:
            hit = of(rows, world=world, schedule=schedule, metric=metric, rule=rule)
            calm = of(rows, world="equal", schedule=schedule, metric=metric, rule=rule)
            if hit and calm and hit[0]["median"] is not None:
                found.append((across(hit[0]["median"]), up(calm[0]["rolled_back"] / calm[0]["runs"])))
        return found

    for _, rules, colour in DIALS:
        chart.path(places(rules), colour, width=2)
        for x, y in places(rules):
            chart.mark(x, y, colour, size=2.6)
    for rule in POINTS:
        for x, y in places([rule]):
            chart.mark(x, y, LOOKS[rule][0], shape=LOOKS[rule][1], size=4.4)


FLOOR: Final = -8.0
NEED: Final = -math.log(0.05)
PATHS: Final = (
    (EQUAL, "peek", "equal"),
    (Change(name="errors 1 %", metric="errors", errors=0.01), "kayenta", "errors 1 %"),
    (Change(name="errors 2 %", metric="errors", errors=0.02), "flagger", "errors 2 %"),
)


def evidence() -> Chart:
    """How the evidence of single runs grows: for a rollback on the left, for a promotion on the right."""
    chart = Chart(
        1040,
        420,
        "Evidence of single runs, errors, candidate at 50 %",
        under="log e-value by requests, six runs each; dashed: where the decision falls",
    )
    for place, (title, need) in enumerate(
        (
            ("for a rollback, nothing tolerated", NEED),
            ("for a promotion, at most 1.5 times stable's errors and .1 points", NEED),
        )
    ):
        left = 60 + place * 500
        across, up = Scale(0, 40_000, left, left + 440), Scale(FLOOR, 5, 380, 90)
        chart.text(left, 78, title, kind="ink panel")
        for value in (0, 10_000, 20_000, 30_000, 40_000):
            chart.line(across(value), 90, across(value), 380)
            chart.text(across(value), 396, short(value) if value else "0", kind="soft small", anchor="middle")
        for value in (-8, -6, -4, -2, 0, 2, 4):
            chart.line(left, up(value), left + 440, up(value))
            chart.text(left - 6, up(value) + 4, f"{value}", kind="soft small", anchor="end")
        for change, colour, _ in PATHS:
            for seed in range(6):
                after, path = _evidence_path(seed, change, promote=place == 1)
                ended = np.flatnonzero((path >= need) | (path <= FLOOR))
                until = int(ended[0]) + 1 if len(ended) else len(path)
                shown = [*range(0, until - 1, 4), until - 1]
                chart.path([(across(after[k]), up(path[k])) for k in shown], colour, faint=True)
        chart.line(left, up(need), left + 440, up(need), kind="limit")
    x = 600.0
    for _, colour, name in PATHS:
        chart.path([(x, 45), (x + 18, 45)], colour, width=2.5)
        chart.text(x + 24, 49, name, kind="soft")
        x += 120
    return chart


def _evidence_path(seed: int, change: Change, *, promote: bool) -> tuple[Floats, Floats]:
    case = Case(run=draw(seed, fixed(5_000, 40_000), change, metrics=("errors",)), seed=seed)
    path = case.gate_path("errors") if promote else case.engine.strict.one(case.strict[0], "error_timeout.rollback")
    return case.looks.after.astype(np.float64), path
