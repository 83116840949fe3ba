"""Route matching: the longest prefix, then more conditions; never half a path segment."""

from canary.split.spec import MatchSpec, RouteSpec, VersionSpec
from canary.split.table import RouteTable

V1 = VersionSpec(name="v1", hash="h", upstream="http://127.0.0.1:1")


def _route(name: str, prefix: str = "/", *, hosts: tuple[str, ...] = (), **headers: str) -> RouteSpec:
    conditions = tuple((key.replace("_", "-"), value) for key, value in headers.items())
    return RouteSpec(
        name=name, match=MatchSpec(hosts=hosts, path_prefix=prefix, headers=conditions), versions=(V1,), stable="v1"
    )


def _matched(
    routes: list[RouteSpec], path: bytes, *, host: bytes = b"a", headers: dict[bytes, bytes] | None = None
) -> str | None:
    entry = RouteTable(routes).match(host, path, (headers or {}).get)
    return entry.name if entry else None


def test_the_longest_prefix_wins_whatever_the_order() -> None:
    routes = [_route("all"), _route("v1", "/v1/"), _route("chat", "/v1/chat")]
    for order in (routes, routes[::-1]):
        assert _matched(order, b"/v1/chat/completions") == "chat"
        assert _matched(order, b"/v1/models") == "v1"
        assert _matched(order, b"/") == "all"


def test_a_prefix_never_ends_inside_a_segment() -> None:
    routes = [_route("one", "/v1")]
    assert _matched(routes, b"/v1") == "one"
    assert _matched(routes, b"/v1/x") == "one"
    assert _matched(routes, b"/v10") is None
    assert _matched([_route("one", "/v1/")], b"/v1") is None


def test_conditions_must_all_hold() -> None:
    routes = [_route("team", x_team="support", x_tier="gold"), _route("any")]
    assert _matched(routes, b"/", headers={b"x-team": b"support", b"x-tier": b"gold"}) == "team"
    assert _matched(routes, b"/", headers={b"x-team": b"support"}) == "any"


def test_hosts_are_compared_without_case() -> None:
    routes = [_route("api", hosts=("API.example",))]
    assert _matched(routes, b"/", host=b"api.example") == "api"
    assert _matched(routes, b"/", host=b"www.example") is None


def test_more_conditions_win_at_equal_prefix() -> None:
    routes = [_route("any"), _route("host", hosts=("a",)), _route("one", x_a="1"), _route("two", x_a="1", x_b="2")]
    assert _matched(routes, b"/", headers={b"x-a": b"1", b"x-b": b"2"}) == "two"
    assert _matched(routes, b"/", headers={b"x-a": b"1"}) == "one"
    assert _matched(routes, b"/") == "host"


def test_no_route_wants_an_asterisk() -> None:
    assert _matched([_route("all")], b"*") is None
