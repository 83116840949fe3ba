"""What good files mean: defaults, units, references, hashes."""

import warnings
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.config import units
from canary.config.diff import differences, notes
from canary.config.document import Config, ConfigFile
from canary.config.load import load
from canary.config.schema_json import json_schema
from canary.config.template import TEMPLATE
from canary.rollout.plan import Margins, MarginSpec, Plan, ShadowStage, Stage, Watch
from canary.split.spec import HeaderRule, SecretRef, UnitSpec
from canary.terms import RouteKind, UnitSource

EXAMPLE = Path(__file__).parents[3] / "deploy" / "canary.example.yaml"

SMALL = """\
routes:
  chat:
    versions:
      v1: {upstream: "http://127.0.0.1:9001/", build: 0123}
      v2:
        upstream: https://h/base
        headers: {Authorization: {env: V2_KEY}, x-secret-less: plain, x-gone: null, x-api-key: {file: /run/key}}
    stable: v1
"""


def loaded(text: str, **env: str) -> ConfigFile:
    return load(text, path="canary.yaml", env=env)


@pytest.mark.parametrize("text", [TEMPLATE, EXAMPLE.read_text()], ids=["template", "example"])
def test_what_we_ship_loads_clean(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loaded(text).config.routes


def test_defaults_come_from_the_rooms_that_own_them() -> None:
    file = loaded(SMALL)
    assert file.local.listen == "127.0.0.1:8080"
    assert file.local.database == "embedded"
    assert file.config.plans == (Plan(name="default"),)
    route = file.config.routes[0]
    assert route.unit == UnitSpec()
    assert route.deadlines.answer_s == 60.0
    assert route.split is None


def test_values_are_read_by_what_their_field_is() -> None:
    v1 = loaded(SMALL).config.routes[0].version("v1")
    assert v1.build == "0123"  # not octal 83
    assert v1.upstream == "http://127.0.0.1:9001"


def test_a_file_without_plans_has_one() -> None:
    assert [p.name for p in loaded(SMALL).config.plans] == ["default"]
    assert [p.name for p in loaded(SMALL + "plans: {careful: {}}\n").config.plans] == ["careful"]


def test_headers_are_values_references_or_removals() -> None:
    v2 = loaded(SMALL).config.routes[0].version("v2")
    assert v2.headers == (
        HeaderRule(name="authorization", secret=SecretRef(env="V2_KEY")),
        HeaderRule(name="x-api-key", secret=SecretRef(file="/run/key")),
        HeaderRule(name="x-gone"),
        HeaderRule(name="x-secret-less", value="plain"),
    )


def test_secrets_are_references_whatever_the_environment_holds() -> None:
    assert b"hunter2" not in msgspec.json.encode(loaded(SMALL, V2_KEY="hunter2"))


def test_a_language_model_may_answer_for_longer() -> None:
    route = loaded(SMALL + "    kind: llm\n").config.routes[0]
    assert route.kind is RouteKind.LLM
    assert route.deadlines.answer_s == 600.0


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("request", UnitSpec()),
        ("{header: X-User-Id}", UnitSpec(source=UnitSource.HEADER, name="x-user-id")),
        ("'header: x-user-id'", UnitSpec(source=UnitSource.HEADER, name="x-user-id")),
        ("cookie:sid", UnitSpec(source=UnitSource.COOKIE, name="sid")),
    ],
)
def test_units(written: str, meant: UnitSpec) -> None:
    assert loaded(f"{SMALL}    unit: {written}\n").config.routes[0].unit == meant


def test_a_plan_in_friendly_units() -> None:
    text = f"""{SMALL}
    classes: {{header: x-class, names: [a]}}
    metrics: {{cost: {{from: header:x-cost, kind: cost}}}}
plans:
  quick:
    shadow: {{share: 25%, min_pairs: 400}}
    stages: [{{weight: 0.25%, dwell: 5s}}, {{weight: 50%, dwell: 1h30m}}]
    watch: {{for: 0, holdback: 5%}}
    margins:
      error: {{promote: 2x + 3pp}}
      p50: {{promote: 50%}}
      p99: {{promote: off}}
    alpha_rollback: 0.005
    warm_up: 0
    on_timeout: roll_back
    class_gates: true
    lean_on: pairs
    limits: {{p99: 1500ms, error: 2%, cost: 0.01}}
"""
    assert loaded(text).config.plan("quick") == Plan(
        name="quick",
        shadow=ShadowStage(share_bp=2_500, min_pairs=400),
        stages=(Stage(weight_bp=25, dwell_s=5.0), Stage(weight_bp=5_000, dwell_s=5_400.0)),
        watch=Watch(for_s=0.0, holdback_bp=500),
        margins=Margins(
            error=MarginSpec(rollback_rho=1.1, rollback_delta=0.0005, promote_rho=2.0, promote_delta=0.03),
            p50=MarginSpec(rollback_d=0.03, promote_d=0.5),
            p99=MarginSpec(rollback_d=0.10, promote_d=None),
        ),
        alpha_rollback=0.005,
        warm_up_s=0.0,
        on_timeout="roll_back",
        class_gates=True,
        lean_on="pairs",
        limits={"cost": 0.01, "error": 0.02, "p99": 1.5},
    )


def test_variables_have_values_defaults_and_an_escape() -> None:
    text = "state_dir: ${HOME_DIR}/x-${TAG:-none}-$$5\n" + SMALL
    assert loaded(text, HOME_DIR="/data").local.state_dir == "/data/x-none-$5"
    assert loaded(text, HOME_DIR="/data", TAG="a").local.state_dir == "/data/x-a-$5"


def test_the_environment_names_the_database() -> None:
    assert loaded(SMALL, DATABASE_URL="postgresql://u@h/d").local.database == "postgresql://u@h/d"


def test_anchors_and_merges_are_understood() -> None:
    text = """
routes:
  a: &a
    match: {path_prefix: /a}
    versions: {v1: {upstream: "http://h"}}
    stable: v1
  b:
    <<: *a
    match: {path_prefix: /b}
"""
    routes = loaded(text).config.routes
    assert [r.match.path_prefix for r in routes] == ["/a", "/b"]
    assert routes[0].versions == routes[1].versions


def test_an_open_port_with_a_token_is_fine() -> None:
    local = loaded("admin: {listen: 0.0.0.0:8081, token: {env: T}}\n" + SMALL).local
    assert local.admin_token == SecretRef(env="T")


def test_a_version_hash_covers_its_definition_and_build_alone() -> None:
    def hash_of(text: str, name: str = "v1") -> str:
        return loaded(text).config.routes[0].version(name).hash

    before = hash_of(SMALL)
    assert hash_of(SMALL.replace("0123", "0124")) != before
    assert hash_of(SMALL.replace("127.0.0.1:9001", "127.0.0.1:9003")) != before
    assert hash_of("listen: 127.0.0.1:1\n" + SMALL.replace("chat", "talk")) == before
    assert hash_of(SMALL.replace("v1", "v7"), "v7") == before
    assert hash_of(SMALL.replace("v1: {", "v1: {verify: true, ")) == before  # what is said and what is default are one


def test_the_published_part_is_the_same_on_every_machine() -> None:
    one = loaded("state_dir: a\nworkers: 1\n" + SMALL).config
    two = loaded(SMALL + "\nstate_dir: b\nworkers: 8\n").config
    assert one == two
    assert one.hash == two.hash


def test_the_order_of_routes_and_versions_changes_nothing() -> None:
    lines = SMALL.splitlines(keepends=True)
    swapped = "".join([*lines[:3], *lines[4:7], lines[3], lines[7]])
    assert loaded(swapped).config.hash == loaded(SMALL).config.hash


def test_config_survives_its_json() -> None:
    config = loaded(EXAMPLE.read_text()).config
    again = msgspec.json.decode(msgspec.json.encode(config), type=Config)
    assert again == config
    assert again.hash == config.hash


def test_differences_name_each_changed_field() -> None:
    old = loaded(SMALL + "plans: {o: {}}\n").config
    new = loaded(SMALL.replace("stable: v1", "stable: v2").replace("0123", "next") + "plans: {o: {}, p: {}}\n").config
    assert differences(old, old) == []
    assert differences(old, new) == [
        "plans.p: added",
        "routes.chat.stable: v1 -> v2",
        "routes.chat.versions.v1.build: 0123 -> next",
    ]
    assert "plans.p: removed" in differences(new, old)


def test_notes_tell_where_the_file_is_not_in_charge() -> None:
    config = loaded(SMALL).config
    assert notes(config, {"chat": "v1"}) == []
    assert notes(config, {}) == []
    assert notes(config, {"chat": "v2"}) == ["chat: file: v1, in charge: v2"]
    assert notes(config, {"chat": "v2"}, {"chat": "d7"}) == ["chat: file: v1, in charge: v2 by decision d7"]


def test_the_schema_for_editors_knows_every_key() -> None:
    schema = json_schema()
    assert set(schema["properties"]) >= {"listen", "admin", "routes", "plans"}
    assert schema["additionalProperties"] is False
    assert "for" in schema["$defs"]["WatchModel"]["properties"]
    assert "default" not in schema["$defs"]["ShadowModel"]["properties"]["share"]  # ours are basis points, theirs percent


@given(st.integers(min_value=0, max_value=10_000))
def test_shares_are_exact_both_ways(bp: int) -> None:
    assert units.share_bp(units.format_share(bp)) == bp


@given(st.integers(min_value=0, max_value=10**10))
def test_durations_are_exact_both_ways(milliseconds: int) -> None:
    assert units.seconds(units.format_seconds(milliseconds / 1_000)) == milliseconds / 1_000


@given(st.text(max_size=20))
def test_no_text_breaks_a_unit_otherwise_than_by_a_message(text: str) -> None:
    said = []
    for parse in (
        units.share_bp,
        units.seconds,
        units.size_bytes,
        units.ratio,
        units.linear,
        units.margin,
        units.positive,
        units.net_loss,
    ):
        try:
            parse(text)
        except ValueError as error:
            said.append(str(error))
    assert all("found" in message for message in said)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("1MiB", 1_048_576), ("64 kB", 64_000), ("0.5KiB", 512), ("7", 7), ("2GiB", 2_147_483_648), ("3B", 3)],
)
def test_sizes(written: str, meant: int) -> None:
    assert units.size_bytes(written) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2x + 3pp", (2.0, 0.03)),
        ("1.10x+0.05pp", (1.1, 0.0005)),
        ("2x", (2.0, 0.0)),
        ("3pp", (1.0, 0.03)),
        ("1x + 1%", (1.0, 0.01)),
    ],
)
def test_margins(written: str, meant: tuple[float, float]) -> None:
    assert units.linear(written) == meant


names = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=8)


@given(
    routes=st.dictionaries(names, st.sets(names, min_size=1, max_size=3), min_size=1, max_size=4),
    weights=st.sets(st.integers(1, 9_500), min_size=1, max_size=6),
)
def test_any_set_of_names_and_weights_comes_back(routes: dict[str, set[str]], weights: set[int]) -> None:
    lines = ["routes:"]
    for route, versions in routes.items():
        lines += [f'  "{route}":', f"    match: {{path_prefix: /{route}}}", f'    stable: "{min(versions)}"', "    versions:"]
        lines += [f'      "{v}": {{upstream: "http://h:80/{v}"}}' for v in versions]
    stages = ", ".join(f"{{weight: {units.format_share(w)}}}" for w in sorted(weights))
    config = loaded("\n".join([*lines, f"plans: {{p: {{stages: [{stages}]}}}}"])).config
    assert {r.name: {v.name for v in r.versions} for r in config.routes} == routes
    plan = config.plan("p")
    assert plan is not None
    assert [s.weight_bp for s in plan.stages] == sorted(weights)


@given(st.text(max_size=200))
def test_no_text_at_all_breaks_the_reader(text: str) -> None:
    from canary.config.load import read

    reading = read(text, env={})
    assert (reading.file is None) is bool(reading.problems)


@pytest.mark.parametrize(
    ("text", "seconds"), [("{}", 600.0), ("{blind_after: 90s}", 90.0), ("{blind_after: 0}", 0.0), ("{blind_after: off}", 0.0)]
)
def test_blindness_has_a_bound_of_this_machine_alone(text: str, seconds: float) -> None:
    assert loaded(f"sidecar: {text}\n{SMALL}").local.blind_after_s == seconds
    assert loaded(f"sidecar: {text}\n{SMALL}").config.hash == loaded(SMALL).config.hash
