"""`python -m tests.bench proxy|store|soak|stats`: the product beside its peers, on the machine where it is run."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.figures import write_json
from tests.bench.machine import Unfit, build_tools, describe, library_versions
from tests.bench.process import StartError, be_modest, use_realtime
from tests.bench.proxy_bench import NAMES, Effort, ProxyBench, render
from tests.bench.proxy_cases import CASES

RESULTS = Path(__file__).parent / "results"
FEWEST_ROUNDS = 5


def main() -> int:
    """Runs one bench, prints its tables, writes its JSON."""
    if sys.argv[1:2] == ["stats"]:  # simulations: they need none of the machine's tools and have options of their own
        for library in ("OPENBLAS", "OMP", "MKL"):  # before numpy is read: small products gain nothing by threads
            os.environ.setdefault(f"{library}_NUM_THREADS", "1")
        from tests.bench.stats.run import main as stats

        return stats(sys.argv[2:])
    options = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so that everything started is ended
    folder = Path(tempfile.mkdtemp(prefix="canary-bench-"))
    try:
        tools = build_tools(folder)
        if options.realtime:
            use_realtime()
        if options.modest:
            be_modest()
        result: dict[str, Any] = {"bench": options.bench, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        result |= {"realtime": options.realtime, "machine": describe(), "libraries": library_versions()}
        print(_machine_lines(result["machine"]))
        if options.bench == "proxy":
            result |= _proxy(options, tools, folder)
        elif options.bench == "soak":
            from tests.bench.soak_bench import run_soak

            result |= run_soak(options, tools, folder)
        else:
            from tests.bench.store_bench import run_store

            result |= run_store(options, tools, folder)
    except Unfit as reason:
        print(f"skipped: {reason}")
        return 0
    except StartError as reason:
        print(f"ended early: {reason}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    path = options.json or RESULTS / f"{options.bench}-{time.strftime('%Y%m%dT%H%M%S')}.json"
    write_json(path, result)
    print(f"\nwritten: {path}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("bench", choices=("proxy", "store", "soak"), help="`stats --help` tells of the fourth")
    parser.add_argument("--quick", action="store_true", help="two short rounds: does it run? No figures to quote")
    parser.add_argument("--rounds", type=int, help=f"interleaved rounds (default {FEWEST_ROUNDS}, quick 2)")
    parser.add_argument("--seconds", type=float, help="length of one measured run (default 3, quick 1)")
    parser.add_argument("--cases", help="some cases of the proxy bench, by commas: " + ",".join(c.name for c in CASES))
    parser.add_argument("--peers", help="some peers, by commas: " + ",".join(NAMES))
    parser.add_argument(
        "--realtime", action="store_true", help="as root: real-time scheduling, for machines that do other work"
    )
    parser.add_argument("--alike", action="store_true", help="no ids: each request has the same head, and each answer")
    parser.add_argument(
        "--product",
        type=Path,
        help="interpreter that has the product to measure (default: a wheel of this source, kept in the temporary folder)",
    )
    parser.add_argument("--rate", type=float, default=1_000.0, help="pairs a second of the store bench and the soak")
    parser.add_argument("--minutes", type=float, help="length of the soak (default 30, quick 1)")
    parser.add_argument("--modest", action="store_true", help="puts nothing ahead of other work, as if not root")
    parser.add_argument("--json", type=Path, help="where the JSON goes (default tests/bench/results)")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else FEWEST_ROUNDS)
    options.minutes = options.minutes or (1.0 if options.quick else 30.0)
    options.seconds = options.seconds or (1.0 if options.quick else 3.0)
    options.cases = _chosen(parser, options.cases, [case.name for case in CASES])
    options.peers = _chosen(parser, options.peers, list(NAMES))
    return options


def _chosen(parser: argparse.ArgumentParser, text: str | None, known: list[str]) -> list[str]:
    chosen = text.split(",") if text else known
    if unknown := [name for name in chosen if name not in known]:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return chosen


def _machine_lines(machine: dict[str, Any]) -> str:
    where = f"proxy on {machine['proxy_core']}, load and upstream on {machine['tools_core']}"
    what = f"Linux {machine['kernel']}, Python {machine['python']}, load average {machine['load_average']}"
    lines = [f"{machine['cpu']}, {machine['cores']} cores ({where}), {what}"]
    if not machine["python_optimised"]:
        lines.append(
            "note: this Python was built without --enable-optimizations; canary and the aiohttp baseline both run on it"
        )
    if not machine["root"]:
        lines.append("note: not root, so nothing is put ahead of other work on this machine")
    if machine["proxy_core"] == machine["tools_core"]:
        lines.append("note: one core for everything; only CPU per request means anything")
    return "\n".join(lines)


def _proxy(options: argparse.Namespace, tools: dict[str, Path], folder: Path) -> dict[str, Any]:
    warm_up_s = 0.3 if options.quick else 0.5
    effort = Effort(rounds=options.rounds, seconds=options.seconds, warm_up_s=warm_up_s, alike=options.alike)
    bench = ProxyBench(tools, folder, effort, options.product)
    summaries = []
    for case in CASES:
        if case.name in options.cases and (summary := bench.measure(case, options.peers)) is not None:
            summaries.append(summary)
            print("\n" + render(summary), flush=True)
        elif case.name in options.cases:
            print(f"\n{case.name}: not measured, none of its peers is there")
    print("\nversions: " + "; ".join(f"{name} = {version}" for name, version in bench.versions.items()))
    for name, reason in bench.skipped.items():
        print(f"skipped: {name}: {reason}")
    return {
        "rounds": effort.rounds,
        "seconds": effort.seconds,
        "alike": effort.alike,
        "versions": bench.versions,
        "skipped": bench.skipped,
        "cases": summaries,
    }


if __name__ == "__main__":
    sys.exit(main())
