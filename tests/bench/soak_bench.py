"""The soak: a load at a rate for a long time; memory and file descriptors of worker, courier and controller stay flat."""

import statistics
import threading
import time
from argparse import Namespace
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Self

from tests.bench.figures import number, table
from tests.bench.machine import cores
from tests.bench.process import free_port, resident_mb
from tests.bench.product import Worker
from tests.bench.store_bench import CONNECTIONS, SITES, Leashed, StoreBench, is_complete
from tests.bench.stored_rollout import Rows, embedded, prepare
from tests.bench.traffic import Load, Upstream

SLOPE_MB = 1.0
"""The promise: at most so many megabytes in ten minutes."""

FEWEST_SAMPLES = 10
MOST_PAUSE_S = 10.0
HEAP, OTHER, FILES = KINDS = ("heap_mb", "other_mb", "files_mb")
"""The C allocator's; mapped without a file, as Python's objects, large buffers and stacks are; files."""

WARM_UP = 0.25  # of the samples: pools fill, caches fill, allocators find their size


class Sampler:
    """Looks at some processes again and again, in a thread of its own."""

    def __init__(self, groups: dict[str, list[int]], *, every_s: float) -> None:
        self.samples: dict[str, list[dict[str, float]]] = {name: [] for name in groups}
        self._groups = groups
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._over.wait(self._every_s):
            for name, pids in self._groups.items():
                at = {"at_s": time.monotonic() - began, "rss_mb": resident_mb(pids), "descriptors": float(descriptors(pids))}
                self.samples[name].append(at | mapped_mb(pids))


def descriptors(pids: list[int]) -> int:
    """Open file descriptors of the processes; one that has ended has none."""
    found = 0
    for pid in pids:
        try:
            found += len(list(Path(f"/proc/{pid}/fd").iterdir()))
        except OSError:
            continue
    return found


def mapped_mb(pids: list[int]) -> dict[str, float]:
    """Resident megabytes by what they are mapped for; nothing of a process that has ended, or is somebody else's."""
    found = dict.fromkeys(KINDS, 0.0)
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        kind = OTHER
        for line in lines:
            words = line.split()
            if not words[0].endswith(":"):  # a mapping begins: addresses, rights, offset, device, inode, name
                kind = HEAP if words[-1] == "[heap]" else FILES if len(words) > 5 and words[5].startswith("/") else OTHER
            elif words[0] == "Rss:":
                found[kind] += int(words[1]) * 1_024 / 1e6
    return found


def slopes(samples: list[dict[str, float]]) -> dict[str, float]:
    """Growth in ten minutes by least squares, without the warm-up; and between which bounds it all stayed."""
    kept = samples[int(len(samples) * WARM_UP) :]
    found: dict[str, float] = {"samples": float(len(kept))}
    if len(kept) < 2:
        return found
    at_s = [sample["at_s"] for sample in kept]
    for name in ("rss_mb", "descriptors", *(kind for kind in KINDS if kind in kept[0])):
        values = [sample[name] for sample in kept]
        found[f"{name}_per_10_min"] = 600 * statistics.linear_regression(at_s, values).slope
        found |= {
            f"{name}_first": values[0],
            f"{name}_last": values[-1],
            f"{name}_min": min(values),
            f"{name}_max": max(values),
        }
    return found


class SoakBench(StoreBench):
    """The store bench's processes under one long load."""

    def run(self) -> dict[str, Any]:
        """Loads and samples, then counts that everything was stored."""
        proxy_core, tools_core = cores()
        self.state.mkdir(mode=0o700)
        with ExitStack() as stack:
            upstream = stack.enter_context(Upstream(self.tools["upstream"], SITES, core=tools_core))
            url = stack.enter_context(embedded(self.state, core=tools_core))
            config = prepare(self.folder, url, ports=upstream.ports, sidecar_port=free_port())
            rows = stack.enter_context(closing(Rows(url)))
            parts = {
                role: Leashed(role, (config, self.state), url, core=tools_core, folder=self.folder)
                for role in ("courier", "controller")
            }
            for part in parts.values():
                stack.callback(part.stop)
            courier = parts["courier"]
            self._await_snapshot(courier)
            worker = Worker(self.state, name="worker", core=proxy_core, folder=self.folder)
            stack.callback(worker.stop)
            groups = {"worker": worker.pids(), **{role: part.process.pids() for role, part in parts.items()}}
            every_s = min(MOST_PAUSE_S, self.seconds / (4 * FEWEST_SAMPLES))
            with Sampler(groups, every_s=every_s) as sampler:
                report = self._load(upstream, worker, Load(seconds=self.seconds, rate=self.rate, connections=CONNECTIONS))
            self._await_pairs(rows, report["answered"])
            counts = rows.counts()
        return {
            "rate": self.rate,
            "seconds": self.seconds,
            "load": report,
            "rows": counts,
            "every_pair_stored": is_complete(counts, report["answered"]) and not report["failed"],
            "slopes": {name: slopes(samples) for name, samples in sampler.samples.items()},
            "samples": sampler.samples,
        }


def run_soak(options: Namespace, tools: dict[str, Path], folder: Path) -> dict[str, Any]:
    """The whole bench with its report on the terminal."""
    result = SoakBench(tools, folder, rate=options.rate, seconds=60 * options.minutes).run()
    print(render(result))
    return {"minutes": options.minutes, "soak": result}


def render(result: dict[str, Any]) -> str:
    """For people."""
    names = ("rss_mb_per_10_min", "rss_mb_first", "rss_mb_last", "rss_mb_max", "descriptors_per_10_min", "descriptors_max")
    rows = [[who, *(number(found.get(name, 0.0)) for name in names)] for who, found in result["slopes"].items()]
    grown = [
        [
            who,
            *(
                f"{found.get(f'{kind}_first', 0.0):.1f} {found.get(f'{kind}_last', 0.0) - found.get(f'{kind}_first', 0.0):+.2f}"
                for kind in KINDS
            ),
        ]
        for who, found in result["slopes"].items()
    ]
    stored = "every pair stored once" if result["every_pair_stored"] else f"NOT every pair stored: {result['rows']}"
    load = result["load"]
    flat = all(found.get("rss_mb_per_10_min", 0.0) <= SLOPE_MB for found in result["slopes"].values())
    word = "kept" if flat else "NOT kept"
    return "\n".join(
        [
            f"soak: {load['rps']:,.0f} requests a second for {result['seconds'] / 60:g} min; {stored}; {load['failed']} failed",
            table(["", "MB / 10 min", "MB first", "MB last", "MB max", "fds / 10 min", "fds max"], rows),
            table(["what grew, MB", "heap", "other memory", "files"], grown),
            f"promise: at most {SLOPE_MB:g} MB in 10 minutes: {word} (a run under half an hour says little: pools still fill)",
        ]
    )
