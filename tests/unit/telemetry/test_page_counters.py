"""The counters page: written by one process, summed by another, going on over restarts."""

from pathlib import Path

from canary.telemetry.page import MAX_ROUTES, Page
from canary.telemetry.readings import Sample, gauges, read_pages, snapshot_revisions
from canary.terms import MirrorDrop


def _value(samples: list[Sample], name: str, **labels: str) -> int:
    return sum(one.value for one in samples if one.name == name and labels.items() <= dict(one.labels).items())


def test_exchanges_are_counted_by_route_arm_and_class(tmp_path: Path) -> None:
    page = Page(tmp_path / "worker-0.page")
    cells = page.route("chat")
    cells.exchange(0, 200, 1_500)
    cells.exchange(1, 503, 70)
    cells.exchange(1, 0, 2**40)
    samples = read_pages(tmp_path)
    assert _value(samples, "canary_exchanges_total", route="chat") == 3
    assert _value(samples, "canary_exchanges_total", arm="candidate", **{"class": "5xx"}) == 1
    assert _value(samples, "canary_exchanges_total", arm="candidate", **{"class": "none"}) == 1
    stable = {"arm": "stable"}
    assert _value(samples, "canary_exchange_duration_us_bucket", le="1023", **stable) == 0
    assert _value(samples, "canary_exchange_duration_us_bucket", le="2047", **stable) == 1
    assert _value(samples, "canary_exchange_duration_us_bucket", le="+Inf", **stable) == 1
    assert _value(samples, "canary_exchange_duration_us_sum", **stable) == 1_500


def test_counters_go_on_and_gauges_begin_anew(tmp_path: Path) -> None:
    for _ in range(2):
        page = Page(tmp_path / "worker-0.page")
        assert snapshot_revisions(tmp_path) == {"worker-0": -1}
        page.counter("accepted_connections", 2)
        page.route("chat").dropped(MirrorDrop.SLOTS)
        page.refused(431)
        page.refused(418)
        page.gauge("snapshot_revision", 5)
        page.close()
    samples = read_pages(tmp_path)
    assert _value(samples, "canary_accepted_connections_total") == 4
    assert _value(samples, "canary_shadow_dropped_total", route="chat", reason="slots") == 2
    assert _value(samples, "canary_refused_total", status="431") == 2
    assert _value(samples, "canary_refused_total", status="other") == 2
    assert gauges(tmp_path)["worker-0"]["snapshot_revision"] == 4


def test_workers_are_summed(tmp_path: Path) -> None:
    for number in range(3):
        Page(tmp_path / f"worker-{number}.page").route("chat").sent()
    assert _value(read_pages(tmp_path), "canary_shadow_sent_total") == 3


def test_too_many_routes_share_the_last_place(tmp_path: Path) -> None:
    page = Page(tmp_path / "worker-0.page")
    for number in range(MAX_ROUTES + 10):
        page.route(f"route-{number}").exchange(0, 200, 1)
    samples = read_pages(tmp_path)
    assert _value(samples, "canary_exchanges_total", route="route-0") == 1
    assert _value(samples, "canary_exchanges_total", route="_other") == 11


def test_a_damaged_page_is_left_out_and_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "worker-0.page"
    path.write_bytes(b"short")
    assert read_pages(tmp_path) == []
    Page(path).counter("sent_bytes", 1)
    assert _value(read_pages(tmp_path), "canary_sent_bytes_total") == 1
