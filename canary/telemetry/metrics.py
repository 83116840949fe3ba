"""Metrics of the controller and admin processes, declared once; workers count into their own page instead."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric

from canary.telemetry.guard import FAILURES

REGISTRY: Final = CollectorRegistry(auto_describe=True)
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

DECISIONS: Final = Counter(
    "canary_decisions", "Decisions taken by this process, `keep` left out.", ["decision", "reason"], registry=REGISTRY
)
LEADING: Final = Gauge("canary_leading", "1 while this controller holds the lease.", registry=REGISTRY)
TICK_SECONDS: Final = Histogram(
    "canary_tick_seconds",
    "Duration of one tick of the decision loop.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    registry=REGISTRY,
)
ADMIN_REQUESTS: Final = Counter(
    "canary_admin_requests", "Requests on the admin port.", ["method", "code_class"], registry=REGISTRY
)
PUBLISHED_REVISION: Final = Gauge(
    "canary_published_revision", "Revision of the configuration that this process published or found last.", registry=REGISTRY
)
RELOADS: Final = Counter("canary_reloads", "Reloads of the configuration file by result.", ["result"], registry=REGISTRY)
WEIGHT: Final = Gauge(
    "canary_rollout_weight_ratio", "Share of live traffic for the candidate, 0 to 1.", ["route", "rollout"], registry=REGISTRY
)
ROLLOUT: Final = Gauge(
    "canary_rollout_info",
    "1 for each rollout that is not over.",
    ["route", "rollout", "phase", "stable", "candidate", "paused", "waiting"],
    registry=REGISTRY,
)
TROUBLED: Final = Gauge(
    "canary_rollout_troubled",
    "1 while the controller's looks at this rollout fail: nothing moves it, no guardrail guards it.",
    ["route", "rollout"],
    registry=REGISTRY,
)
E_VALUE: Final = Gauge(
    "canary_e_value",
    "Natural logarithm of the evidence, by metric and side (rollback, promote).",
    ["route", "rollout", "metric", "side"],
    registry=REGISTRY,
)
CALIBRATION: Final = Gauge(
    "canary_calibration_rounds",
    "Latest rounds in which stable was compared with itself, by what came of them: each alarm (`true`) was a false one.",
    ["route", "alarmed"],
    registry=REGISTRY,
)


class _Guarded:
    """Exports the guard's own count."""

    def describe(self) -> Iterator[Metric]:
        """The family without samples."""
        yield self._family()

    def collect(self) -> Iterator[Metric]:
        """The family with one sample an operation."""
        family = self._family()
        for operation, failures in sorted(FAILURES.items()):
            family.add_metric([operation], failures)
        yield family

    def _family(self) -> CounterMetricFamily:
        return CounterMetricFamily("canary_guarded_failures", "Extra work that failed, by operation.", labels=["operation"])


REGISTRY.register(_Guarded())


def exposition() -> bytes:
    """All metrics in the text format."""
    return generate_latest(REGISTRY)
