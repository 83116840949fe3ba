"""The page of the operating curves: one run of a goal may be longer than another's, and nobody reads progress from a log."""

import io

import pytest

from tests.bench.stats.curves import Progress
from tests.bench.stats.goals import FALSE_ALARMS, Line
from tests.bench.stats.report import goal_table
from tests.bench.stats.run import joined


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_written_over_and_over_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr("sys.stderr", stream)
        progress = Progress("equal, 5 %", 500)
        for _ in range(500):
            progress.step()
        said.append(stream.getvalue())
    assert said[0].startswith("\requal, 5 %: 1/500")
    assert said[0].count("\n") == 1
    assert said[1].startswith("equal, 5 %: 500/500, ")
    assert said[1].count("\n") == 1


def test_the_later_of_two_runs_of_a_line_counts_and_each_line_says_its_runs() -> None:
    def lines(runs: int, *names: str) -> dict[str, object]:
        found = [Line(goal=FALSE_ALARMS, what=name, found=".004", bound="at most .05", met=True, runs=runs) for name in names]
        return {"goals": [{name: getattr(line, name) for name in Line.__slots__} for line in found]}

    page = goal_table(joined([lines(400, "5 %", "50 %"), lines(20_000, "50 %")])["goals"])
    assert "| 5 % | .004 | at most .05 | yes | 400 |" in page
    assert "| 50 % | .004 | at most .05 | yes | 20,000 |" in page
    assert page.count("| 50 % |") == 1
