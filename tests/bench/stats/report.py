"""Tables of the operating curves as Markdown, put between the marks of a page whose words are written by people."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench.stats.curves import TOLERABLE
from tests.bench.stats.draws import METRICS
from tests.bench.stats.pictures import LOOKS, delays, evidence, false_rollbacks, of, tradeoff
from tests.bench.stats.rules import ALONE, OURS
from tests.bench.stats.svg import short

Rows = Sequence[dict[str, Any]]

SCHEDULES: Final = ("5 %", "50 %", "1-5-25-50 %")
COLUMNS: Final = (
    OURS,
    ALONE,
    "mSPRT",
    "t-test each 5 s",
    "Kayenta, 10 s points",
    "Kayenta, 60 s points",
    "Flagger, 1 failed check",
    "Flagger, 5 failed checks",
    "Argo 99 %, 60 s, limit 3",
    "arbr, each 5 min",
)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join(["---"] * len(header)) + " |"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _share(row: dict[str, Any], name: str = "rolled_back") -> str:
    return f"{row[name] / row['runs']:.3f}".removeprefix("0") if row[name] else "0"


def false_rollback_table(rows: Rows) -> str:
    """Equal candidates: the family under each schedule, then single metrics."""
    worlds = [("equal", schedule) for schedule in SCHEDULES] + [("equal, drifting", "1-5-25-50 %")]
    keys = [(world, schedule, "family") for world, schedule in worlds]
    keys += [("equal", schedule, metric) for schedule in ("5 %", "50 %") for metric in METRICS]
    names = [f"any metric, {schedule}{', drifting' if 'drift' in world else ''}" for world, schedule, _ in keys[:4]]
    names += [f"{metric}, {schedule}" for _, schedule, metric in keys[4:]]
    lines = []
    for rule in LOOKS:
        cells = []
        for world, schedule, metric in keys:
            found = of(rows, world=world, schedule=schedule, metric=metric, rule=rule)
            cells.append(_share(found[0]) if found else "-")
        lines.append([f"**{rule}**" if rule == OURS else rule, *cells])
    return table(["rule", *names], lines)


def delay_table(rows: Rows, schedule: str) -> str:
    """Median / 90 % of the requests until a rollback, and how many runs were rolled back where it was not all."""
    worlds = list(dict.fromkeys(row["world"] for row in of(rows, schedule=schedule) if not row["world"].startswith("equal")))
    lines = []
    for world in worlds:
        cells = []
        for rule in COLUMNS:
            found = of(rows, world=world, schedule=schedule, rule=rule)
            cells.append(_delay(found[0]) if found else "")
        lines.append([world, *cells])
    return table(["candidate", *COLUMNS], lines)


def _delay(row: dict[str, Any]) -> str:
    middle, high = (short(row[name]) if row[name] is not None else "-" for name in ("median", "p90"))
    share = row["rolled_back"] / row["runs"]
    return f"{middle} / {high}" + (f" ({share:.0%})" if share < 0.995 else "")


def outcome_table(rows: Rows) -> str:
    """What became of candidates worse than the margins, by the end of the run: rolled back, promoted, undecided."""
    lines = []
    for schedule in SCHEDULES:
        bad = [row for row in of(rows, schedule=schedule) if not row["world"].startswith("equal")]
        for world in dict.fromkeys(row["world"] for row in bad if row["world"] not in TOLERABLE):
            cells = []
            for rule in COLUMNS[:1] + COLUMNS[2:]:
                found = of(bad, world=world, rule=rule)
                cells.append(_share(found[0], "promoted") if found else "")
            ours = of(bad, world=world, rule=OURS)[0]
            lines.append([f"{world}, {schedule}", cells[0], _share(ours, "undecided"), *cells[1:]])
    return table(["candidate", f"{OURS}: promoted", "undecided", *(f"{rule}: promoted" for rule in COLUMNS[2:])], lines)


def served_table(rows: Rows) -> str:
    """Failed answers that clients got from the candidate until the rollback, or until the end."""
    lines = []
    for schedule in SCHEDULES:
        for world in dict.fromkeys(row["world"] for row in of(rows, schedule=schedule, metric="errors")):
            if world.startswith("equal"):
                continue
            cells = []
            for rule in COLUMNS:
                found = of(rows, world=world, schedule=schedule, rule=rule)
                cells.append(f"{found[0]['served']:,.0f}" if found else "")
            lines.append([f"{world}, {schedule}", *cells])
    return table(["candidate", *COLUMNS], lines)


def goal_table(lines: Rows) -> str:
    """Every promise, what was found, and whether it was kept."""
    said = {True: "yes", False: "**no**", None: ""}
    cells = [
        [
            line["goal"],
            line["what"],
            line["found"],
            line["bound"],
            said[line["met"]],
            f"{line['runs']:,}" if line["runs"] else "-",
        ]
        for line in lines
    ]
    return table(["goal", "what", "found", "bound", "kept", "runs"], cells)


def traffic_table(outcomes: Rows) -> str:
    """Little traffic: how each rule ended, and when."""
    rules = list(dict.fromkeys(row["rule"] for row in outcomes))
    lines = []
    for key in dict.fromkeys((row["per_minute"], row["world"]) for row in outcomes):
        cells = []
        for rule in rules:
            found = of(outcomes, per_minute=key[0], world=key[1], rule=rule)
            cells.append(_ending(found[0]) if found else "")
        lines.append([f"{key[0]} a minute, {key[1]}", *cells])
    return table(["requests and candidate", *rules], lines)


def _ending(row: dict[str, Any]) -> str:
    undecided = row["runs"] - row["rolled_back"] - row["promoted"]
    parts = []
    for count, name, after in (
        (row["rolled_back"], "back", row["rolled_back_min"]),
        (row["promoted"], "promoted", row["promoted_min"]),
        (undecided, "undecided", None),
    ):
        if count:
            when = f" after {after:,.1f} min" if after is not None else ""
            parts.append(f"{count / row['runs']:.0%} {name}{when}")
    return ", ".join(parts)


def sections(document: dict[str, Any]) -> dict[str, str]:
    """Every generated part of the page, by the name of its mark."""
    rows, found = document.get("rows") or [], {}
    if rows:
        found = {
            "false rollbacks": false_rollback_table(rows),
            **{f"delays {schedule}": delay_table(rows, schedule) for schedule in SCHEDULES},
            "outcomes": outcome_table(rows),
            "served": served_table(rows),
        }
    if document.get("goals"):
        found["goals"] = goal_table(document["goals"])
    if document.get("traffic"):
        found["traffic"] = traffic_table(document["traffic"])
    found["run"] = run_line(document)
    return found


def run_line(document: dict[str, Any]) -> str:
    """What was run, on what."""
    said = []
    for part in document.get("parts") or [document]:
        counts = []
        if part.get("rows"):
            counts.append(f"{part['runs']:,} runs of each bad candidate, {part['equal_runs']:,} of equal ones")
        if part.get("goals"):
            counts.append(f"goals: as each line says, from {part['goal_runs']:,}")
        said.append(f"`{part['command']}` ({'; '.join(counts)}; {part['seconds'] / 60:.0f} minutes of one core)")
    versions = f"Python {document['python']}, numpy {document['numpy']}, scipy {document['scipy']}"
    return f"{', '.join(said)}. Seeds 0, 1, 2, ...; 100,000 requests a run unless said otherwise; {versions}."


def fill(page: str, parts: dict[str, str]) -> str:
    """The page with each marked part replaced; marks without a part stay as they are."""
    for name, text in parts.items():
        marks = re.compile(rf"(<!-- begin: {re.escape(name)} -->\n).*?(<!-- end: {re.escape(name)} -->)", re.DOTALL)
        page = marks.sub(lambda found, text=text: f"{found[1]}{text}\n{found[2]}", page)  # type: ignore[misc]
    return page


def write(folder: Path, document: dict[str, Any]) -> list[Path]:
    """Tables into the folder's README, pictures beside it. What was not run this time stays as it was."""
    folder.mkdir(parents=True, exist_ok=True)
    readme, parts = folder / "README.md", sections(document)
    empty = "\n\n".join(f"<!-- begin: {name} -->\n<!-- end: {name} -->" for name in parts)
    page = readme.read_text(encoding="utf-8") if readme.exists() else f"# Operating curves\n\n{empty}\n"
    readme.write_text(fill(page, parts), encoding="utf-8")
    pictures = {}
    if rows := document.get("rows"):
        pictures = {
            "false-rollbacks": false_rollbacks(rows),
            "delays-5": delays(rows, "5 %"),
            "delays-50": delays(rows, "50 %"),
            "tradeoff-5": tradeoff(rows, "5 %"),
            "tradeoff-50": tradeoff(rows, "50 %"),
            "evidence": evidence(),
        }
    for name, chart in pictures.items():
        (folder / f"{name}.svg").write_text(chart.render(), encoding="utf-8")
    return [readme, *(folder / f"{name}.svg" for name in pictures)]
