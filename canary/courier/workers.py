"""How this sidecar's workers are, read from the pages they count in."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from canary.telemetry.readings import Sample, gauges, read_pages

SILENT_S: Final = 10.0  # a worker's loop turns ten times a second


class Workers:
    """Pages of workers that ended are passed over."""

    def __init__(self, folder: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._monotonic = monotonic
        self._turned: dict[str, tuple[int, float]] = {}  # worker -> last turn it wrote, and when that was first seen

    def revisions(self) -> Sequence[int]:
        """The snapshot revision in force in each running worker; -1 where it has none."""
        return list(self.following().values())

    def following(self) -> dict[str, int]:
        """The same by worker."""
        return {worker: values["snapshot_revision"] for worker, values in self._running().items()}

    def trouble(self) -> str:
        """Empty where all running workers turn, otherwise what is wrong. Seen over two questions: clocks may jump."""
        running, now = self._running(), self._monotonic()
        if not running:
            return "no worker runs"
        for worker, values in running.items():
            turned = values["turned_at_us"]
            if worker not in self._turned or self._turned[worker][0] != turned:
                self._turned[worker] = (turned, now)
        silent = sorted(worker for worker in running if now - self._turned[worker][1] > SILENT_S)
        return f"silent for {SILENT_S:g} s: {', '.join(silent)}" if silent else ""

    def samples(self) -> Sequence[Sample]:
        """Everything that the workers count."""
        return read_pages(self._folder)

    def _running(self) -> dict[str, dict[str, int]]:
        return {worker: values for worker, values in gauges(self._folder).items() if _runs(values["pid"])}


def _runs(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
