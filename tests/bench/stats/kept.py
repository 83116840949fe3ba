"""Runs of one world that were made before: which of the seeds 0, 1, 2, ... were hits. A long run that is cut loses little."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.bench.figures import write_json

EACH: Final = 200
"""Runs between two writings."""


class Kept:
    """What a file holds of one world, or nothing without a file."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        found = json.loads(path.read_text(encoding="utf-8")) if path is not None and path.exists() else {}
        self.runs: int = found.get("runs", 0)
        self._hits: list[int] = found.get("hits", [])  # seeds
        self._seconds: float = found.get("seconds", 0.0)

    def hits(self, runs: int, hit: Callable[[int], bool], *, step: Callable[[], None]) -> int:
        """Hits among the first `runs` seeds; those that nobody asked for before are asked now, `step` after each."""
        since = time.process_time()
        for seed in range(self.runs, runs):
            if hit(seed):
                self._hits.append(seed)
            self.runs = seed + 1
            step()
            if self.runs % EACH == 0 or self.runs == runs:
                now = time.process_time()
                self._seconds, since = self._seconds + now - since, now
                self._write()
        return sum(seed < runs for seed in self._hits)

    def _write(self) -> None:
        if self._path is not None:
            part = self._path.with_suffix(".part")
            write_json(part, {"runs": self.runs, "hits": self._hits, "seconds": self._seconds})
            part.replace(self._path)


def seconds_of(folder: Path | None) -> float:
    """How long everything took that a folder keeps."""
    paths = folder.glob("*.json") if folder is not None else ()
    return sum((float(json.loads(path.read_text(encoding="utf-8"))["seconds"]) for path in paths), 0.0)
