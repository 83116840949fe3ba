"""What a route may say of its metrics: what good files mean, and a table of broken ones with the place of each mistake."""

import pytest

from canary.config.load import load, read
from canary.config.measuring import CHAT_TEXT
from canary.config.schema_json import json_schema
from canary.rollout.plan import MarginSpec
from canary.split.spec import RouteSpec
from canary.terms import Better, Measures, MetricKind, MetricSpec

ROUTE = """\
routes:
  chat:
    versions: {v1: {upstream: "http://127.0.0.1:9001"}}
    stable: v1
"""


def metric(inside: str, name: str = "score") -> str:
    """A route with one metric."""
    return f"{ROUTE}    metrics: {{{name}: {{{inside}}}}}\n"


def line(text: str) -> str:
    """A route with one more line in it."""
    return f"{ROUTE}    {text}\n"


def the_route(text: str) -> RouteSpec:
    return load(text, path="canary.yaml", env={}).config.routes[0]


def the_metric(inside: str) -> MetricSpec:
    (found,) = the_route(metric(inside)).measures.metrics
    return found


SCORE = "from: json:/score, kind: quality, cap: 1"

BROKEN = {
    "source of no kind": (metric("from: §usage.cost, kind: mean"), "expected header:NAME, json:/POINTER or fact:NAME"),
    "source of an unknown place": (metric("from: §'xml:/a', kind: mean"), "expected header:NAME, json:/POINTER"),
    "source missing": (f"{ROUTE}    metrics: {{§score: {{kind: mean}}}}\n", "metrics.score.from: is missing"),
    "source as a list": (metric("from: §[a], kind: mean"), "expected header:NAME, json:/POINTER or fact:NAME, found a list"),
    "pointer without a slash": (metric("from: §json:usage, kind: mean"), "a JSON pointer begins with /"),
    "pointer with a bad escape": (metric("from: §'json:/a~2', kind: mean"), "~0 stands for ~ and ~1 for /"),
    "pointer that ends in a tilde": (metric("from: §'json:/a~', kind: mean"), "~0 stands for ~"),
    "header's name": (metric("from: §'header:x y', kind: mean"), "not a header's name"),
    "authorization": (metric("from: §header:Authorization, kind: mean"), "authorization carries secrets and is never read"),
    "cookie": (metric("from: §header:cookie, kind: mean"), "cookie carries secrets"),
    "set-cookie": (metric("from: §header:set-cookie, kind: mean"), "set-cookie carries secrets"),
    "api key": (metric("from: §header:X-Api-Key, kind: mean"), "x-api-key carries secrets"),
    "fact unknown": (metric("from: §fact:speed, kind: mean"), "unknown fact 'speed'; facts: latency, ttfb, bytes"),
    "status without a number": (metric("from: §fact:status, kind: rate"), "fact:status=404 or fact:status=4xx"),
    "status of no class": (metric("from: §fact:status=9xx, kind: rate"), "fact:status=404 or fact:status=4xx"),
    "latency as a rate": (metric("from: fact:latency, kind: §rate"), "fact:latency is an amount"),
    "status as a mean": (metric("from: fact:status=404, kind: §mean"), "fact:status is yes or no"),
    "kind missing": (f"{ROUTE}    metrics: {{§score: {{from: json:/a}}}}\n", "metrics.score.kind: is missing"),
    "kind unknown": (metric("from: json:/a, kind: §meen"), "did you mean 'mean'?"),
    "key unknown": (metric("from: json:/a, kind: mean, §units: USD"), "did you mean 'unit'?"),
    "better unknown": (metric("from: json:/a, kind: mean, better: §up"), "expected 'lower' or 'higher', found 'up'"),
    "cost that grows": (metric("from: json:/a, kind: cost, better: §higher, cap: 1"), "a cost is better lower"),
    "higher without a cap": (
        f"{ROUTE}    metrics: {{§score: {{from: json:/a, kind: mean, better: higher}}}}\n",
        "give a cap, such as cap: 1",
    ),
    "quality without a cap": (f"{ROUTE}    metrics: {{§score: {{from: json:/a, kind: quality}}}}\n", "give a cap"),
    "cap of no number": (metric("from: json:/a, kind: mean, cap: §nan"), "expected a finite number above 0, found 'nan'"),
    "cap without an end": (metric("from: json:/a, kind: mean, cap: §1e999"), "expected a finite number above 0"),
    "cap negative": (metric("from: json:/a, kind: mean, cap: §-3"), "expected a finite number above 0, found '-3'"),
    "cap of nothing": (metric("from: json:/a, kind: mean, cap: §0"), "expected a finite number above 0"),
    "cap of a rate": (metric("from: json:/a, kind: rate, §cap: 1"), "a rate is yes or no: it has no cap"),
    "missing amount that is good": (metric("from: json:/a, kind: cost, §absent: good"), "its metric falls silent"),
    "margin's words": (metric(f"{SCORE}, rollback: §some"), "expected a margin such as 1.02x"),
    "margin below one": (metric(f"{SCORE}, promote: §0.9x"), "a margin is at least 1x"),
    "margin in points of an amount": (metric(f"{SCORE}, rollback: §1x + 1pp"), "percentage points belong to rates"),
    "margin in units of a rate": (metric("from: json:/a, kind: rate, rollback: §1x + 1"), "of a rate write percentage points"),
    "margin below tolerance": (metric(f"{SCORE}, rollback: + 0.1, promote: §+ 0.05"), "below the rollback tolerance"),
    "rate's margin below tolerance": (
        metric("from: json:/a, kind: rate, rollback: 2x, promote: §1.5x"),
        "below the rollback tolerance",
    ),
    "margin without room": (metric(f"{SCORE}, promote: §1x"), "an equal candidate could never be shown"),
    "margin as large as the cap": (metric(f"{SCORE}, promote: §+ 1"), "nothing could be worse"),
    "rollback off": (metric(f"{SCORE}, rollback: §off"), "expected a margin such as 1.02x"),
    "share over one": (metric(f"{SCORE}, share: §1.5"), "must be at most 1.0, found 1.5"),
    "share below nothing": (metric(f"{SCORE}, share: §-0.1"), "must be at least 0"),
    "share not finite": (metric(f"{SCORE}, share: §nan"), "must be at"),
    "name of a guard": (f"{ROUTE}    metrics: {{§error: {{{SCORE}}}}}\n", "error is the name of a guard"),
    "name of a quantile": (f"{ROUTE}    metrics: {{§p50: {{{SCORE}}}}}\n", "p50 is the name of a guard"),
    "name of the pairs' metric": (f"{ROUTE}    metrics: {{§preference: {{{SCORE}}}}}\n", "is the name of a guard"),
    "name of a cap's guard": (f"{ROUTE}    metrics: {{§cost_over_cap: {{{SCORE}}}}}\n", "is the name of a guard"),
    "name with capitals": (f"{ROUTE}    metrics: {{§Cost: {{{SCORE}}}}}\n", "a metric's name has 1 to 32 of a-z"),
    "name twice": (f"{ROUTE}    metrics:\n      a: {{{SCORE}}}\n      §a: {{{SCORE}}}\n", "the key 'a' stands here twice"),
    "too many": (
        f"{ROUTE}    metrics: §{{{', '.join(f'm{i}: {{{SCORE}}}' for i in range(17))}}}\n",
        "has 17 entries, at most 16 are allowed",
    ),
    "metrics as a list": (line("metrics: §[a]"), "expected a mapping, found a list"),
    # preference
    "preference without a source": (line("§preference: {better: higher}"), "preference.prefer: is missing"),
    "preference of a secret": (line("preference: {prefer: §header:cookie}"), "carries secrets"),
    "preference's key": (line("preference: {prefer: json:/a, §promotes: 0.1}"), "did you mean 'promote'?"),
    "preference lost wholly": (line("preference: {prefer: json:/a, promote: §1.0}"), "from 0 to below 1"),
    "preference in x": (line("preference: {prefer: json:/a, rollback: §1.02x}"), "a net share of lost pairs"),
    "preference below tolerance": (line("preference: {prefer: json:/a, rollback: 0.1, promote: §0.05}"), "below the rollback"),
    "preference without room": (line("preference: {prefer: json:/a, promote: §0}"), "an equal candidate could never be shown"),
    # classes
    "classes without a header": (line("§classes: {names: [a]}"), "classes.header: is missing"),
    "classes by a secret": (line("classes: {header: §Authorization, names: [a]}"), "carries secrets"),
    "classes by no header": (line("classes: {header: §'x y', names: [a]}"), "not a header's name"),
    "classes of nobody": (line("classes: {header: x-class, names: §[]}"), "at least 1 is needed"),
    "classes too many": (
        line(f"classes: {{header: x-class, names: §[{', '.join(f'c{i}' for i in range(16))}]}}"),
        "has 16 entries, at most 15 are allowed",
    ),
    "class twice": (line("classes: {header: x-class, names: [a, b, §a]}"), "the class 'a' stands here twice"),
    "class with a blank": (line("classes: {header: x-class, names: [§'a b']}"), "a name has 1 to 63"),
    # diversity, first byte
    "diversity of a header": (line("diversity: §header:x-a"), "expected json:/POINTER or body"),
    "diversity's pointer": (line("diversity: §json:text"), "a JSON pointer begins with /"),
    "first byte": (line("first_byte: §sometimes"), "expected true or false"),
    "first byte's margin": (
        f"{ROUTE}plans: {{p: {{margins: {{first_byte: {{rollback: 20%, promote: §15%}}}}}}}}\n",
        "below the rollback tolerance",
    ),
}


@pytest.mark.parametrize(("marked", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_each_mistake_is_named_with_its_place(marked: str, message: str) -> None:
    before = marked[: marked.index("§")]
    place = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    reading = read(marked.replace("§", ""), env={})
    assert reading.file is None
    found = [(p.line, p.column, p.message) for p in reading.problems]
    assert len(found) == 1, found
    assert found[0][:2] == place, found
    assert message in found[0][2]


def test_mistakes_of_many_metrics_come_at_once() -> None:
    text = f"{ROUTE}    metrics:\n      a: {{from: json:/a, kind: rate, cap: 1}}\n      b: {{from: x, kind: meen}}\n"
    assert len(read(text, env={}).problems) == 3


def test_a_cost_has_its_defaults() -> None:
    assert the_metric("from: header:X-Cost, kind: cost") == MetricSpec(
        name="score",
        kind=MetricKind.MEAN,
        source="header:x-cost",
        rollback_rho=1.02,
        promote_rho=1.10,
        share=0.10,
        unit="USD",
    )


def test_a_quality_loses_shares_of_its_cap() -> None:
    assert the_metric("from: json:/usage/score, kind: quality, cap: 5") == MetricSpec(
        name="score",
        kind=MetricKind.MEAN,
        source="json:/usage/score",
        better=Better.HIGHER,
        cap=5.0,
        rollback_delta=0.025,
        promote_delta=0.1,
        share=0.10,
    )


def test_a_rate_has_the_margins_of_rare_events() -> None:
    assert the_metric("from: json:/refused, kind: rate, absent: good") == MetricSpec(
        name="score",
        kind=MetricKind.RATE,
        source="json:/refused",
        absent_is_bad=False,
        rollback_rho=1.1,
        rollback_delta=0.002,
        promote_rho=1.5,
        promote_delta=0.005,
        share=0.03,
    )


def test_a_rate_of_good_answers_counts_down_from_one() -> None:
    found = the_metric("from: json:/valid, kind: rate, better: higher")
    assert (found.kind, found.better, found.cap, found.absent_is_bad) == (MetricKind.RATE, Better.HIGHER, 1.0, True)


def test_everything_that_a_mean_may_say() -> None:
    inside = "from: json:/usage/total, kind: mean, cap: 4e3, rollback: 1.05x + 0.5, promote: 1.2x + 2, share: 0, unit: tokens"
    assert the_metric(inside) == MetricSpec(
        name="score",
        kind=MetricKind.MEAN,
        source="json:/usage/total",
        cap=4_000.0,
        rollback_rho=1.05,
        rollback_delta=0.5,
        promote_rho=1.2,
        promote_delta=2.0,
        share=0.0,
        unit="tokens",
    )


def test_a_metric_may_be_guarded_and_never_asked_for() -> None:
    found = the_metric("from: json:/usage/total, kind: mean, rollback: + 3, promote: off")
    assert (found.promotes, found.rollback_rho, found.rollback_delta) == (False, 1.0, 3.0)


def test_facts_bring_their_unit() -> None:
    assert the_metric("from: fact:latency, kind: mean").unit == "ms"
    assert the_metric("from: fact:bytes, kind: mean, unit: bytes").unit == "bytes"
    assert the_metric("from: fact:status=4xx, kind: rate").unit == ""


def test_preference_stands_behind_the_metrics() -> None:
    mirror = "    mirror: {paths: [/v1/chat/completions]}\n"
    text = metric(SCORE) + mirror + "    preference: {prefer: json:/score, rollback: 0.02, promote: off}\n"
    reading = read(text, env={})
    assert reading.file is not None
    assert reading.warnings == ()
    metrics = reading.file.config.routes[0].measures.metrics
    assert [m.name for m in metrics] == ["score", "preference"]
    assert metrics[1] == MetricSpec(
        name="preference",
        kind=MetricKind.PREFERENCE,
        source="json:/score",
        better=Better.HIGHER,
        rollback_delta=0.02,
        promote_delta=0.02,
        promotes=False,
        share=0.03,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (line("§preference: {prefer: json:/score}"), "only GET and HEAD are copied here"),
        (
            line("mirror: {paths: [/a]}\n    §preference: {prefer: json:/score}") + "plans: {p: {shadow: {share: 0%}}}\n",
            "no plan of this file has a shadow",
        ),
    ],
    ids=["no paths", "no shadow"],
)
def test_preference_without_pairs_is_warned_of(text: str, said: str) -> None:
    reading = read(text.replace("§", ""), env={})
    assert reading.problems == ()
    (warning,) = reading.warnings
    before = text[: text.index("§")]
    assert (warning.line, warning.column) == (before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
    assert said in warning.message
    (told,) = load(text.replace("§", ""), path="c.yaml", env={}).warnings
    assert told.startswith(f"c.yaml:{warning.line}:{warning.column}: routes.chat.preference: ")


def test_a_plain_route_measures_nothing_more() -> None:
    assert the_route(ROUTE).measures == Measures()


def test_a_language_model_is_guarded_for_diversity_and_its_first_byte() -> None:
    assert the_route(line("kind: llm")).measures == Measures(diversity=CHAT_TEXT, first_byte=True)
    off = "kind: llm\n    diversity: off\n    first_byte: false"
    assert the_route(line(off)).measures == Measures()
    assert the_route(line("diversity: body\n    first_byte: true")).measures == Measures(diversity="body", first_byte=True)


def test_classes_are_names_and_a_header() -> None:
    route = the_route(line("classes: {header: X-Task-Class, names: [G0, G1]}"))
    assert (route.class_header, route.measures.classes) == ("x-task-class", ("G0", "G1"))


def test_what_metrics_read_is_written_down_without_being_asked() -> None:
    record = "    record: {response_headers: [server]}\n"
    by_header = the_route(metric("from: header:X-Cost, kind: cost") + record)
    assert by_header.record.response_headers == ("server", "x-cost")
    by_body = the_route(metric(SCORE) + record)
    assert by_body.record.response_headers == ("server", "content-type")
    assert the_route(ROUTE + record).record.response_headers == ("server",)


def test_the_margin_of_the_first_byte() -> None:
    config = load(f"{ROUTE}plans: {{p: {{}}, q: {{margins: {{first_byte: {{promote: off}}}}}}}}\n", path="", env={}).config
    p, q = (config.plan(name) for name in "pq")
    assert p is not None
    assert q is not None
    assert p.margins.first_byte == MarginSpec(rollback_d=0.05, promote_d=0.15)
    assert q.margins.first_byte == MarginSpec(rollback_d=0.05, promote_d=None)


def test_editors_learn_of_metrics_as_they_are_written() -> None:
    schema = json_schema()["$defs"]
    properties = schema["MetricModel"]["properties"]
    assert set(properties) == {"from", "kind", "better", "cap", "absent", "rollback", "promote", "share", "unit"}
    assert schema["MetricModel"]["required"] == ["from", "kind"]
    assert "metrics" in schema["RouteModel"]["properties"]
