"""A table of broken files: `§` stands just before the place that must be named."""

import pytest

from canary.config.load import load, read
from canary.errors import ConfigError
from canary.wire.head import SPECIAL

ROUTE = """\
routes:
  chat:
    versions:
      v1: {upstream: "http://127.0.0.1:9001"}
      v2: {upstream: "http://127.0.0.1:9002"}
    stable: v1
"""


def top(line: str) -> str:
    """A good route with one more line above it."""
    return f"{line}\n{ROUTE}"


def route(line: str) -> str:
    """A good route with one more line in it."""
    return f"{ROUTE}    {line}\n"


def version(inside: str) -> str:
    """A route whose first version has more in it."""
    return ROUTE.replace('9001"', f'9001", {inside}')


def upstream(written: str) -> str:
    """A route whose first version has another upstream."""
    return ROUTE.replace('"http://127.0.0.1:9001"', written)


def plan(*lines: str) -> str:
    """A good route and a plan."""
    body = "".join(f"    {line}\n" for line in lines)
    return f"{ROUTE}plans:\n  p:\n{body}"


BROKEN = {
    # the text itself
    "empty": ("§", "the file is empty"),
    "only a comment": ("§# nothing\n", "the file is empty"),
    "a list": ("§- a\n", "expected a mapping, found a list"),
    "a word": ("§hello\n", "expected a mapping, found 'hello'"),
    "tab": ("routes:\n§\tchat: 1\n", "a tab cannot indent YAML"),
    "unclosed quote": ('listen: "127.0.0.1:80\n§', "not YAML: found unexpected end of stream"),
    "unclosed bracket": ("routes: {a: 1\n§", "not YAML:"),
    "two documents": (f"{ROUTE}§---\na: 1\n", "one document is expected"),
    "duplicate key": (f"{ROUTE}§routes: {{}}\n", "the key 'routes' stands here twice"),
    "duplicate version": (ROUTE.replace("      v2", "      §v1"), "the key 'v1' stands here twice"),
    "python tag": (top("state_dir: §!!python/name:os.system x"), "python/name:os.system is not supported"),
    "undefined alias": (top("listen: §*nowhere"), "not YAML: found undefined alias"),
    "recursive alias": ("§&a {x: *a}\n", "recursive"),
    "list as key": (top("? §[a, b]\n: c"), "a key is a plain word"),
    "control character": ("listen: a§\x01b\n", "is not allowed in YAML"),
    "merge of text": (ROUTE.replace("    stable", "    <<: §hello\n    stable"), "<< takes a mapping"),
    # variables
    "variable not set": (top("state_dir: §${NO_SUCH_THING}"), "the environment variable NO_SUCH_THING is not set"),
    "variable unclosed": (top("state_dir: §'${HOME'"), "expected ${NAME} or ${NAME:-default}"),
    "variable with blanks": (top("state_dir: §'${A B}'"), "expected ${NAME} or ${NAME:-default}"),
    # top level
    "unknown key with a guess": (top("§listn: 127.0.0.1:80"), "listn: unknown key; did you mean 'listen'?"),
    "unknown key without a guess": (top("§zzz: 1"), "zzz: unknown key; known here: listen, admin"),
    "no routes": ("§listen: 127.0.0.1:80\n", "routes: is missing"),
    "routes empty": ("routes: §{}\n", "routes: has 0 entries, at least 1 is needed"),
    "routes without anything": ("routes:§ \n", "routes: expected a mapping, found nothing"),
    "listen without a port": (top("listen: §127.0.0.1"), "expected an address such as 127.0.0.1:8080"),
    "listen with a large port": (top("listen: §127.0.0.1:70000"), "expected an address"),
    "listen on a bare v6": (top("listen: §::1:80"), "expected an address"),
    "listen as a list": (top("listen: §[a]"), "expected an address such as 127.0.0.1:8080, found a list"),
    "workers not a number": (top("workers: §two"), "workers: expected a whole number, found 'two'"),
    "workers zero": (top("workers: §0"), "workers: must be at least 1, found 0"),
    "database of another kind": (top("database: §mysql://x:secret@h/db"), "expected 'embedded' or postgresql://"),
    "admin off loopback": (top("admin: {listen: §0.0.0.0:8081}"), "0.0.0.0:8081 is not loopback: it needs a token"),
    "sidecar off loopback": (top("sidecar: {listen: §10.0.0.1:8082}"), "10.0.0.1:8082 is not loopback"),
    "admin token as text": (top("admin: {token: §hunter2}"), "a secret is a reference"),
    "admin token of both kinds": (top("admin: {token: §{env: A, file: b}}"), "a secret is a reference"),
    "force key as text": (top("force_key: §abc"), "a secret is a reference"),
    "force key with a bad name": (top("force_key: §{env: 1-X}"), "a secret is a reference"),
    "limits unknown": (top("limits: {§body_byte: 1MiB}"), "did you mean 'body_bytes'?"),
    "size with another unit": (top("limits: {body_bytes: §1 parsec}"), "expected a size such as 1MiB"),
    "size negative": (top("limits: {body_bytes: §-1}"), "expected a size such as 1MiB"),
    "size of half a byte": (top("limits: {body_bytes: §0.5B}"), "a whole number of bytes"),
    "answer header not a switch": (top("answer_headers: {id: §perhaps}"), "expected true or false, found 'perhaps'"),
    # routes
    "route name with a blank": (
        "routes:\n  §a b: {stable: v1, versions: {v1: {upstream: 'http://h'}}}\n",
        "a name has 1 to 63",
    ),
    "route as text": ("routes:\n  chat: §hello\n", "expected a mapping, found 'hello'"),
    "route without versions": ("routes:\n  §chat: {stable: v1}\n", "routes.chat.versions: is missing"),
    "route with empty versions": ("routes:\n  chat: {stable: v1, versions: §{}}\n", "at least 1 is needed"),
    "route without stable": ("routes:\n  §chat: {versions: {v1: {upstream: 'http://h'}}}\n", "routes.chat.stable: is missing"),
    "stable unknown": (ROUTE.replace("stable: v1", "stable: §v11"), "'v11' is not a version of this route; did you mean 'v1'?"),
    "kind unknown": (route("kind: §lm"), "expected 'http' or 'llm', found 'lm'; did you mean 'llm'?"),
    "route key unknown": (route("§mirrors: {}"), "did you mean 'mirror'?"),
    "unit unknown": (route("unit: §user"), "expected request, {header: NAME} or {cookie: NAME}"),
    "unit of two kinds": (route("unit: §{header: a, cookie: b}"), "expected request, {header: NAME}"),
    "unit header with a blank": (route("unit: §{header: 'x y'}"), "not a header's name"),
    "unit cookie with a semicolon": (route("unit: §{cookie: 'a;b'}"), "not a cookie's name"),
    "unit header that is taken out": (route("unit: §{header: X-Forwarded-For}"), "requests cannot be told apart by it"),
    "match header that is taken out": (route("match: {headers: {§host: a}}"), "host is canary's own on the way"),
    "match header's value beyond ASCII": (route("match: {headers: {x-a: §日}}"), "a value to be met is printable ASCII"),
    "match host beyond ASCII": (route("§match: {host: 日本.jp}"), "a host is a bare name in ASCII"),
    "class header that is taken out": (route("classes: {header: §te, names: [a]}"), "te is canary's own on the way"),
    "path prefix beyond ASCII": (route("match: {path_prefix: §/日}"), "a path begins with /"),
    "version header with a tab": (version('headers: {x-a: §"a\\tb"}'), "no control characters, tabs and odd blanks"),
    "version header with an odd blank": (version('headers: {x-a: §"a\\u00a0b"}'), "no control characters, tabs and odd blanks"),
    "match key unknown": (route("match: {§path: /v1}"), "did you mean 'path_prefix'?"),
    "path prefix without a slash": (route("match: {path_prefix: §v1}"), "a path begins with /"),
    "path prefix with a query": (route("match: {path_prefix: §'/a?b'}"), "a path begins with /"),
    "match header's name": (route("match: {headers: {§'x y': a}}"), "not a header's name"),
    "match host with a port": (route("§match: {host: 'a:80'}"), "a host is a bare name"),
    "match host and hosts": (route("match: {§host: a, hosts: [b]}"), "give host or hosts, not both"),
    "same match twice": (
        ROUTE + "  twin:\n    stable: v1\n    versions: {v1: {upstream: 'http://h'}}\n    §match: {path_prefix: /}\n",
        "matches the same requests as route 'chat'",
    ),
    # versions
    "upstream missing": (ROUTE.replace('v2: {upstream: "http://127.0.0.1:9002"}', "§v2: {build: a}"), "upstream: is missing"),
    "upstream of another scheme": (upstream("§ftp://h"), "expected an address such as http://"),
    "upstream without a host": (upstream("§'http://'"), "expected an address such as http://"),
    "upstream with a bad port": (upstream("§'http://h:99999'"), "expected an address such as http://"),
    "upstream with credentials": (upstream("§'http://u:p@h'"), "holds no credentials"),
    "upstream with a query": (upstream("§'http://h/?a=b'"), "no query and no fragment"),
    "upstream with a blank": (upstream("§'http://h/a b'"), "expected an address such as http://"),
    "version key unknown": (version("§stripprefix: /a"), "did you mean 'strip_prefix'?"),
    "policy": (
        ROUTE.replace('{upstream: "http://127.0.0.1:9002"}', "{§policy: p.yaml}"),
        "not supported yet: routing policies",
    ),
    "strip prefix": (version("strip_prefix: §a"), "a path begins with /"),
    "secret as a value": (version("headers: {authorization: §Bearer abc}"), "authorization is a secret"),
    "api key as a value": (version("headers: {X-Api-Key: §abc}"), "x-api-key is a secret"),
    "secret of an unknown kind": (version("headers: {authorization: §{vault: a}}"), "a secret is a reference"),
    "framing header": (version("headers: {content-length: §'3'}"), "content-length is set by canary itself"),
    "header's name": (version("headers: {'x y': §a}"), "not a header's name"),
    "header with a line break": (version('headers: {x-a: §"a\\nb"}'), "no control characters"),
    "header twice": (version("headers: {x-a: '1', §X-A: '2'}"), "the header x-a stands here twice"),
    "header empty": (version("headers: {x-a: §''}"), "null removes a header"),
    "build header's name": (version("build_header: §'a b'"), "not a header's name"),
    "verify not a switch": (version("verify: §maybe"), "expected true or false"),
    "ca file without tls": (version("§ca_file: ca.pem"), "needs an https:// upstream"),
    "build as a list": (version("build: §[1]"), "expected text, found a list"),
    # mirror, record, deadlines
    "mirror path": (route("mirror: {paths: [/ok, §v1/chat]}"), "a path begins with /"),
    "mirror paths as text": (route("mirror: {paths: §/a}"), "expected a list, found '/a'"),
    "mirror budget": (route("mirror: {§budget_usd_per_day: 20}"), "not supported yet: a budget for the shadow"),
    "bodies redacted": (route("record: {bodies: §redacted}"), "not supported yet: redacted bodies"),
    "bodies unknown": (route("record: {bodies: §ful}"), "did you mean 'full'?"),
    "keep days": (route("record: {keep_days: §0}"), "must be at least 1, found 0"),
    "cookie recorded": (route("record: {request_headers: [accept, §Cookie]}"), "cookie carries secrets and is never"),
    "key recorded": (route("record: {request_headers: [§X-Api-Key]}"), "x-api-key carries secrets and is never recorded"),
    "token recorded": (route("record: {request_headers: [§x-session-token]}"), "carries secrets and is never recorded"),
    "organization recorded": (route("record: {request_headers: [§openai-organization]}"), "is never recorded"),
    "cookie of an answer recorded": (route("record: {response_headers: [server, §set-cookie2]}"), "is never recorded"),
    "proxies' address recorded": (route("record: {request_headers: [§X-Forwarded-For]}"), "canary's own on the way"),
    "recorded name": (route("record: {response_headers: [§'a b']}"), "not a header's name"),
    "deadline without a unit": (route("deadlines: {answer: §30}"), "expected a duration with its unit"),
    "deadline of zero": (route("deadlines: {idle: §0s}"), "a deadline is more than 0"),
    "answer longer than counts are open": (route("deadlines: {answer: §2h}"), "an answer has at most 90m"),
    "connect longer than answer": (route("deadlines: {connect: §5s, answer: 2s}"), "cannot be longer"),
    # plans
    "plan key unknown": (plan("§stage: []"), "did you mean 'stages'?"),
    "plan name": (f"{ROUTE}plans: {{§'a b': {{}}}}\n", "a name has 1 to 63"),
    "plan of nothing": (f"{ROUTE}plans:\n  p:§\n", "expected a mapping, found nothing"),
    "no stages": (plan("stages: §[]"), "has 0 entries, at least 1 is needed"),
    "lean on pairs without a shadow": (
        plan("shadow: {share: 0%}\n    lean_on: §pairs"),
        "pairs come from copies, and shadow.share is 0%: give the shadow a share, or say auto",
    ),
    "lean on another thing": (plan("lean_on: §shadow"), "expected 'auto', 'pairs' or 'canary', found 'shadow'"),
    "stage without a weight": (plan("stages: [§{dwell: 5m}]"), "plans.p.stages.0.weight: is missing"),
    "weight without a sign": (plan("stages: [{weight: §5}]"), "expected a share with a percent sign"),
    "weight too fine": (plan("stages: [{weight: §0.005%}]"), "a share is exact to 0.01%"),
    "weight over all": (plan("stages: [{weight: §101%}]"), "a share is at most 100%"),
    "weight of nothing": (plan("stages: [{weight: §0%}]"), "more than 0%"),
    "weights that fall": (plan("stages: [{weight: 5%}, {weight: §1%}]"), "weights grow from stage to stage: 1% after 5%"),
    "weights that stay": (plan("stages: [{weight: 5%}, {weight: §5.00%}]"), "weights grow from stage to stage"),
    "dwell": (plan("stages: [{weight: 5%, dwell: §soon}]"), "expected a duration with its unit"),
    "weight of all": (
        f"{ROUTE}plans:\n  §p: {{stages: [{{weight: 100%}}], watch: {{for: 0}}}}\n",
        "weight 100 % is not above 0 % and below 100 %",
    ),
    "holdback below the last stage": (
        f"{ROUTE}plans:\n  §p: {{stages: [{{weight: 97%}}]}}\n",
        "a holdback of 5 % would take traffic back from the last stage",
    ),
    "holdback": (plan("watch: {holdback: §60%}"), "a holdback is at most 50%"),
    "alpha": (plan("alpha_rollback: §0"), "must be greater than 0"),
    "alpha large": (plan("alpha_promote: §0.9"), "must be at most 0.5"),
    "alpha not finite": (plan("alpha_promote: §nan"), "must be"),
    "on timeout": (plan("on_timeout: §rollback"), "did you mean 'roll_back'?"),
    "guardrails": (plan("§guardrails: default"), "not supported yet: a choice of guardrails"),
    "approve": (plan("§approve: [final]"), "not supported yet: stages that wait for a person"),
    "harm budget's words": (plan("harm_budget: {§request: 50}"), "unknown key"),
    "harm budget of nothing": (plan("harm_budget: {failed: §0}"), "must be greater than 0"),
    "harm budget without end": (plan("harm_budget: {cost: §.inf}"), "expected a number"),
    "limit": (plan("limits: {error: §100%}"), "a limit lies between 0% and 100%"),
    "limit's unit": (plan("limits: {error: §0.02}"), "the limit of error is a share of answers such as 2%"),
    "limit's words": (plan("limits: {error: §few}"), "expected a share such as 2%, a duration such as 1.5s or an amount"),
    "margin's words": (plan("margins: {error: {promote: §twice}}"), "expected a margin such as 1.5x + 0.1pp"),
    "margin below one": (plan("margins: {error: {promote: §0.5x}}"), "a margin is at least 1x"),
    "margin below tolerance": (plan("margins: {p50: {rollback: 10%, promote: §5%}}"), "below the rollback tolerance"),
    "error margin below tolerance": (plan("margins: {error: {rollback: 2x, promote: §1.5x}}"), "below the rollback tolerance"),
    "metric unknown": (plan("margins: {§p90: {promote: 5%}}"), "did you mean 'p"),
}


def place_of(marked: str) -> tuple[str, int, int]:
    """The text without its mark, and line and column of the mark."""
    before = marked[: marked.index("§")]
    return marked.replace("§", ""), before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


@pytest.mark.parametrize(("marked", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_each_mistake_is_named_with_its_place(marked: str, message: str) -> None:
    text, line, column = place_of(marked)
    reading = read(text, env={})
    assert reading.file is None
    found = [(p.line, p.column, p.message) for p in reading.problems]
    assert any(p[:2] == (line, column) and message in p[2] for p in found), found
    assert len(found) == 1, found


def test_all_mistakes_come_at_once_in_the_order_of_the_file() -> None:
    text = top("listen: here").replace("stable: v1", "stable: v9") + plan("stages: [{weight: 0%}]").removeprefix(ROUTE)
    with pytest.raises(ConfigError) as caught:
        load(text, path="dir/canary.yaml", env={})
    lines = str(caught.value).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["dir/canary.yaml:1:9:", "dir/canary.yaml:7:13:", "dir/canary.yaml:10:23:"]
    assert caught.value.hint


def test_a_wrong_field_does_not_hide_the_checks_between_others() -> None:
    problems = read(version("verify: perhaps").replace("stable: v1", "stable: v9"), env={}).problems
    assert len(problems) == 2


@pytest.mark.parametrize(
    "text",
    [
        upstream("'http://u:hunter2@host:port'"),
        upstream("'http://u:hunter2@ho st'"),
        upstream("'ftp://u:hunter2@h'"),
        upstream("'http://u:hun/ter@hunter2@h:x'"),
        upstream("'http://h/a?key=hunter2'"),
        upstream("'http://h:x/a?key=hunter2'"),
        top("database: u:hunter2"),
        top("database: host=a password=hunter2"),
    ],
)
def test_an_address_that_is_no_good_is_told_without_what_it_hides(text: str) -> None:
    problems = read(text, env={}).problems
    assert problems
    assert not [problem for problem in problems if "hunter2" in problem.message]


def test_routes_look_at_no_header_that_the_wire_takes_out() -> None:
    for name in SPECIAL:
        assert read(route(f"unit: {{header: {name.decode()}}}"), env={}).problems, name


def test_a_password_in_a_database_address_is_not_repeated() -> None:
    (problem,) = read(top("database: mysql://u:hunter2@h/db"), env={}).problems
    assert "hunter2" not in problem.message


def test_the_values_of_secret_headers_are_not_repeated() -> None:
    (problem,) = read(version("headers: {authorization: Bearer hunter2}"), env={}).problems
    assert "hunter2" not in problem.message


def test_a_bomb_of_aliases_is_refused() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    problems = read("\n".join(rows), env={}).problems
    assert any("more than 50000 values" in p.message for p in problems)


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_deep_nesting_is_refused(opening: str) -> None:
    problems = read(opening * 5_000, env={}).problems
    assert problems


def test_a_huge_file_is_refused() -> None:
    (problem,) = read("a" * 300_000, env={}).problems
    assert "at most 262144" in problem.message
