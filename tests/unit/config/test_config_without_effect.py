"""Settings that would do nothing: guards are refused, the rest is warned of; `§` stands just before the place named."""

import pytest

from canary.config.load import read
from canary.config.tree import Problem

VERSIONS = """\
    versions:
      v1: {upstream: "http://127.0.0.1:9001"}
      v2: {upstream: "http://127.0.0.1:9002"}
    stable: v1
"""
ROUTE = f"routes:\n  chat:\n{VERSIONS}"
CLASSES = "    classes: {header: x-class, names: [a]}\n"
SITE = f"  site:\n    match: {{path_prefix: /s}}\n{VERSIONS}"


def route(*lines: str) -> str:
    return ROUTE + "".join(f"    {line}\n" for line in lines)


def plan(*lines: str, file: str = ROUTE) -> str:
    return f"{file}plans:\n  p:\n" + "".join(f"    {line}\n" for line in lines)


REFUSED = {
    "gates without classes": (plan("class_gates: §true"), "so no gate would ask for more: give a route classes"),
    "gates on a sticky route": (
        plan("class_gates: §true", file=f"{ROUTE}{CLASSES}    unit: {{header: x-user}}\n"),
        "no route here has classes and requests as its unit",
    ),
    "budget of a cost that is not measured": (plan("harm_budget: {§cost: 5}"), "no route here has a metric `cost`"),
    "budget of a cost that is a rate": (
        plan("harm_budget: {§cost: 5}", file=route("metrics: {cost: {from: json:/a, kind: rate}}")),
        "no route here has a metric `cost`",
    ),
    "certificate of http": (
        ROUTE.replace('9001"}', '9001", §verify: false}'),
        "there is no certificate to check on an http:// upstream",
    ),
    "unit of a rate": (route("metrics: {m: {from: json:/a, kind: rate, §unit: USD}}"), "a rate is yes or no: it has no unit"),
    "absent fact": (
        route("metrics: {m: {from: fact:client_error, kind: rate, §absent: good}}"),
        "fact:client_error is known of every answer",
    ),
    "dwell past the stage's limit": (
        plan("max_duration: 1h", "stages: [{weight: 5%, dwell: 30m}, {weight: 50%, dwell: §2h}]"),
        "a stage that lasts at least 2h can never be passed within max_duration, 1h",
    ),
    "usual dwell past the stage's limit": (
        plan("max_duration: §4m", "stages: [{weight: 50%}]"),
        "a stage that lasts at least 5m can never be passed within max_duration, 4m",
    ),
}
LIMITED = route("metrics: {cost: {from: header:x-cost, kind: cost, cap: 2}, bad: {from: json:/a, kind: rate}}")
WIDE, NARROW = (f"    metrics: {{cost: {{from: header:x-cost, kind: cost, cap: {cap}}}}}\n" for cap in (200, 2))
REFUSED |= {
    "limit at every route's cap": (
        plan("limits: {cost: §300}", file=ROUTE + WIDE + SITE + NARROW),
        "the limit lies at the cap of 200 or over it",
    ),
    "limit on nothing": (plan("limits: {§eror: 2%}"), "so the limit would guard nothing; did you mean 'error'?"),
    "limit on a comparison": (plan("limits: {§throughput: 2%}"), "throughput compares the two versions"),
    "limit of a quantile in percent": (plan("limits: {p99: §2%}"), "the limit of p99 is a duration such as 1.5s"),
    "limit of a cost in percent": (plan("limits: {cost: §2%}", file=LIMITED), "the limit of cost is an amount in its own unit"),
    "limit of a rate as an amount": (plan("limits: {bad: §0.02}", file=LIMITED), "the limit of bad is a share of answers"),
    "limit at the cap": (plan("limits: {cost: §2}", file=LIMITED), "the limit lies at the cap of 2 or over it"),
    "limit past every deadline": (plan("limits: {p99: §60s}"), "no answer takes that long: the longest deadline is 1m"),
    "limit of no time": (plan("limits: {p99: §0s}"), "a limit is more than 0"),
}
WARNED = {
    "gates that change one route of two": (
        plan("class_gates: §true", file=f"{ROUTE}{CLASSES}{SITE}"),
        "site has no classes, or users that stay: rollouts there are not changed by it",
    ),
    "margin of a first byte that is not guarded": (
        plan("margins: {§first_byte: {rollback: 5%}}"),
        "no route here guards the time to the first byte",
    ),
    "pairs without a shadow": (plan("shadow: {share: 0%, §min_pairs: 100}"), "no pairs are waited for"),
    "holdback without a watch": (plan("watch: {for: 0, §holdback: 5%}"), "nobody is held back"),
    "watch without a holdback": (plan("watch: {for: 24h, holdback: §0%}"), "the promotion is the end"),
    "copies of bodies that are not kept": (
        route("mirror: {paths: [/a], body_limit_bytes: §2MiB}"),
        "bodies over limits.buffered_body_bytes (1,048,576 bytes) stream through and are never copied",
    ),
    "copies without a shadow": (
        plan("shadow: {share: 0%}", file=route("mirror: {§paths: [/a]}")),
        "no plan of this file has a shadow: nothing is copied",
    ),
    "cap of bodies that nobody reads": (route("record: {§body_cap_bytes: 1MiB}"), "nothing is captured"),
}
QUIET = {
    "gates where there are classes": plan("class_gates: true", file=ROUTE + CLASSES),
    "gates that are off": plan("class_gates: false"),
    "budget of a cost": plan("harm_budget: {cost: 5}", file=route("metrics: {cost: {from: header:x-cost, kind: cost}}")),
    "certificate of https": ROUTE.replace('http://127.0.0.1:9001"}', 'https://a.example", verify: false}'),
    "first byte of a language model": plan("margins: {first_byte: {rollback: 5%}}", file=route("kind: llm")),
    "first byte that is asked for": plan("margins: {first_byte: {rollback: 5%}}", file=route("first_byte: true")),
    "pairs of a shadow": plan("shadow: {min_pairs: 100}"),
    "no watch": plan("watch: {for: 0}"),
    "larger bodies kept": f"limits: {{buffered_body_bytes: 4MiB}}\n{route('mirror: {paths: [/a], body_limit_bytes: 2MiB}')}",
    "bodies kept in full": route("record: {bodies: full, body_cap_bytes: 1MiB}"),
    "bodies read by a metric": route("record: {body_cap_bytes: 1MiB}", "metrics: {m: {from: json:/a, kind: rate}}"),
    "bodies read for their variety": route("record: {body_cap_bytes: 1MiB}", "kind: llm"),
    "limits of all kinds": plan("limits: {error: 2%, cost: 0.01, cost_over_cap: 1%, bad: 3%, p99: 1500ms}", file=LIMITED),
    "a limit below the first of two caps": plan("limits: {cost: 5}", file=ROUTE + WIDE + SITE + NARROW),
    "a limit below the last of two caps": plan("limits: {cost: 5}", file=ROUTE + NARROW + SITE + WIDE),
    "a limit that a language model may reach": plan("limits: {p50: 90s}", file=route("kind: llm")),
    "a dwell below the limit": plan("max_duration: 10m", "stages: [{weight: 50%, dwell: 9m}]"),
}


def placed(marked: str, found: tuple[Problem, ...]) -> str:
    """The one message, if it stands at the mark."""
    before = marked[: marked.index("§")]
    place = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    assert [(one.line, one.column) for one in found] == [place], found
    return found[0].message


@pytest.mark.parametrize(("marked", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_guard_that_would_guard_nothing_is_refused(marked: str, message: str) -> None:
    reading = read(marked.replace("§", ""), env={})
    assert reading.file is None
    assert message in placed(marked, reading.problems)


@pytest.mark.parametrize(("marked", "message"), WARNED.values(), ids=WARNED.keys())
def test_what_will_not_do_what_was_meant_is_warned_of(marked: str, message: str) -> None:
    reading = read(marked.replace("§", ""), env={})
    assert reading.problems == ()
    assert message in placed(marked, reading.warnings)


@pytest.mark.parametrize("text", QUIET.values(), ids=QUIET.keys())
def test_what_has_an_effect_is_let_be(text: str) -> None:
    reading = read(text, env={})
    assert (reading.problems, reading.warnings) == ((), ())
