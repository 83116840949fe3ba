"""What people see of the demonstration: plain lines, or JSON lines for programs. The live screen is in `screen`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol, TextIO

from canary.demo.scene import Scene, Verdict


class View(Protocol):
    """Is told everything as it happens; decides what of it to show."""

    def opening(self, lines: Sequence[str]) -> None:
        """The plan, before anything starts."""
        ...

    def note(self, line: str) -> None:
        """Something that all should know: what is started, where a log is."""
        ...

    def scene(self, scene: Scene) -> None:
        """The present moment, several times a second."""
        ...

    def event(self, candidate: str, line: str) -> None:
        """Something happened."""
        ...

    def verdict(self, verdict: Verdict) -> None:
        """A candidate's end."""
        ...

    def closing(self, verdicts: Sequence[Verdict], console: str, *, stays: bool) -> None:
        """All verdicts, and where the console is."""
        ...


class Lines:
    """Plain lines: for files and pipes."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout

    def opening(self, lines: Sequence[str]) -> None:
        """Prints the plan."""
        self._say(*lines)

    def note(self, line: str) -> None:
        """Prints it."""
        self._say(line)

    def scene(self, scene: Scene) -> None:
        """Nothing: events are enough where nobody watches."""

    def event(self, candidate: str, line: str) -> None:
        """Prints it."""
        self._say(f"{candidate}  {line}")

    def verdict(self, verdict: Verdict) -> None:
        """Prints it."""
        self._say(*verdict_lines(verdict))

    def closing(self, verdicts: Sequence[Verdict], console: str, *, stays: bool) -> None:
        """Prints the summary."""
        self._say(*closing_lines(verdicts, console, stays=stays))

    def _say(self, *lines: str) -> None:
        print(*lines, sep="\n", file=self._out, flush=True)


class JsonLines:
    """One JSON object a line; the last one holds the verdicts."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout

    def opening(self, lines: Sequence[str]) -> None:
        """The plan as text."""
        self._say({"plan": list(lines)})

    def note(self, line: str) -> None:
        """The line."""
        self._say({"note": line})

    def scene(self, scene: Scene) -> None:
        """Nothing: events are enough."""

    def event(self, candidate: str, line: str) -> None:
        """An event of a candidate."""
        self._say({"candidate": candidate, "event": line.strip()})

    def verdict(self, verdict: Verdict) -> None:
        """Nothing yet: all come together in the end."""

    def closing(self, verdicts: Sequence[Verdict], console: str, *, stays: bool) -> None:
        """The verdicts with their numbers."""
        del stays
        self._say({"verdicts": [asdict(v) for v in verdicts], "right": all(v.right for v in verdicts), "console": console})

    def _say(self, value: dict[str, Any]) -> None:
        print(json.dumps(value, ensure_ascii=False), file=self._out, flush=True)


def verdict_lines(verdict: Verdict) -> list[str]:
    """One candidate's end in three lines."""
    mark = "✓" if verdict.right else "✗ not what was expected:"
    return [
        f"{mark} {verdict.candidate} ({verdict.says}): {verdict.headline}",
        f"    {verdict.because}",
        f"    {verdict.pairs:,} pairs; clients got {verdict.served:,} of its answers, {verdict.harmed:,} of them failed",
    ]


def closing_lines(verdicts: Sequence[Verdict], console: str, *, stays: bool) -> list[str]:
    """The summary."""
    right = sum(verdict.right for verdict in verdicts)
    lines = ["", f"{right} of {len(verdicts)} verdicts as expected:"]
    for verdict in verdicts:
        lines += verdict_lines(verdict)
    if stays:
        lines += ["", f"The console stays at {console} until Ctrl-C; a little traffic goes on."]
    return lines
