"""`python -m tests.bench stats`: operating curves and goals of the comparison engine, and of others' rules beside it."""

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from tests.bench.figures import write_json
from tests.bench.stats import against, few, goals
from tests.bench.stats.curves import Table, worlds
from tests.bench.stats.kept import seconds_of
from tests.bench.stats.report import SCHEDULES, delay_table, false_rollback_table, goal_table, traffic_table, write

RUNS: Final = 200
GOAL_RUNS: Final = 400
QUICK: Final = 12
QUICK_N: Final = 24_000
PLACES: Final = ("--json", "--out", "--keep")


def main(arguments: Sequence[str]) -> int:
    """Runs what was asked for, prints its tables, writes JSON and pages where asked to."""
    options = _options(arguments)
    if options.figures:
        return _written(joined([json.loads(path.read_text(encoding="utf-8")) for path in options.figures]), options.out)
    started = time.process_time() - seconds_of(options.keep)
    document: dict[str, Any] = {
        "bench": "stats",
        "command": " ".join(["python -m tests.bench stats", *_told(arguments)]),
        "runs": options.runs,
        "equal_runs": options.equal_runs,
        "goal_runs": options.goal_runs,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("numpy", "scipy")},
    }
    if options.curves:
        document["rows"] = curves(options)
        document["traffic"] = traffic(options)
    if options.goals:
        lines = list(goals.run(options.goal_runs, options.only, keep=options.keep))
        document["goals"] = [*against.run(document.get("rows") or []), *lines]
    document["seconds"] = time.process_time() - started
    print(as_text(document))
    if options.json:
        write_json(options.json, document)
        print(f"\nwritten: {options.json}")
    if options.out:
        _written(document, options.out)
    broken = [line["what"] for line in document.get("goals", ()) if line["met"] is False]
    print(f"\n{len(broken)} promises not kept" + "".join(f"\n  {what}" for what in broken) if options.goals else "")
    return 0


def joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of several runs as those of one; of two that ran the same, the later counts."""
    joined: dict[str, Any] = {}
    for part in parts:
        joined |= {name: value for name, value in part.items() if name != "goals"}
    lines = {(line["goal"], line["what"]): line for part in parts for line in part.get("goals") or []}
    lines |= {(line["goal"], line["what"]): line for line in against.run(joined.get("rows") or [])}
    joined["goals"] = sorted(lines.values(), key=lambda line: str(line["goal"]))
    return joined | {"parts": parts}


def _written(document: dict[str, Any], folder: Path) -> int:
    for path in write(folder, document):
        print(f"written: {path}")
    return 0


def _told(arguments: Sequence[str]) -> list[str]:
    """The arguments that change figures; where results go is nobody's business."""
    told, skip = [], False
    for word in arguments:
        if skip or word in PLACES:
            skip = word in PLACES
        elif not word.startswith(tuple(f"{place}=" for place in PLACES)):
            told.append(f'"{word}"' if " " in word else word)
    return told


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench stats", description=__doc__)
    parser.add_argument("--runs", type=int, help=f"of each bad candidate (default {RUNS})")
    parser.add_argument("--equal-runs", type=int, help="of each equal candidate, under all rules (default: twice --runs)")
    parser.add_argument("--goal-runs", type=int, help=f"of each goal (default {GOAL_RUNS}, or --runs)")
    parser.add_argument("--goals", action="store_true", help="the goals alone; `--all` for curves and goals")
    parser.add_argument("--all", action="store_true", help="curves and goals")
    parser.add_argument("--only", help="some worlds or goals, by parts of their names, by commas")
    parser.add_argument("--quick", action="store_true", help="a dozen short runs: does it work? No figures to quote")
    parser.add_argument("--keep", type=Path, help="folder where goal 1 of users keeps its runs: a long run that is cut goes on")
    parser.add_argument("--json", type=Path, help="where all figures go")
    parser.add_argument("--out", type=Path, help="folder of the page and its pictures, as docs/operating-curves")
    parser.add_argument("--from", dest="figures", type=Path, nargs="+", help="runs nothing: the page from figures of `--json`")
    options = parser.parse_args(arguments)
    if options.figures and not options.out:
        parser.error("--from needs --out")
    options.goal_runs = options.goal_runs or options.runs or (QUICK if options.quick else GOAL_RUNS)
    options.runs = options.runs or (QUICK if options.quick else RUNS)
    options.equal_runs = options.equal_runs or 2 * options.runs
    options.only = [word.strip() for word in options.only.split(",")] if options.only else []
    options.curves = options.all or not options.goals
    options.goals = options.goals or options.all
    return options


def curves(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of all worlds."""
    n = {"n": QUICK_N} if options.quick else {}
    tables: list[Table] = []
    for _, run in worlds(options.runs, options.equal_runs, only=options.only, **n):
        tables += run()
    return [table.row(rule) for table in tables for rule in table.delays]


def traffic(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The endings under little traffic; few runs, as rules that judge each minute of a day are slow."""
    if options.only and not any(word in "little traffic" for word in options.only):
        return []
    runs = max(3, options.runs // 20)
    rates = few.PER_MINUTE[:1] if options.quick else few.PER_MINUTE
    return [
        asdict(outcome)
        for per_minute in rates
        for change in few.CHANGES
        for outcome in few.outcomes(per_minute, 500, change, runs, tell=True)
    ]


def as_text(document: dict[str, Any]) -> str:
    """Everything that was run, for a terminal."""
    parts = []
    if rows := document.get("rows"):
        parts += [false_rollback_table(rows), *(delay_table(rows, schedule) for schedule in SCHEDULES)]
    if outcomes := document.get("traffic"):
        parts.append(traffic_table(outcomes))
    if lines := document.get("goals"):
        parts.append(goal_table(lines))
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
