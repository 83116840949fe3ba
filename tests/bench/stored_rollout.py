"""The database side of the store bench: embedded Postgres, a published file, a rollout in its shadow stage."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from canary.config.load import load
from canary.control.books import Books
from canary.control.creating import Wish, create_rollout
from canary.control.record import Mandate, row_of
from canary.rollout.apply import apply
from canary.rollout.scoring_of import scoring_spec
from canary.rollout.state import Decision
from canary.rollout.traffic import segments_for
from canary.stats.freezing import freeze
from canary.stats.profile import Profile, profile_cells
from canary.stats.scoring import Fact
from canary.store.books import PostgresRollouts
from canary.store.counters import PostgresCounters
from canary.store.database import Database
from canary.store.embedded import EmbeddedPostgres
from canary.store.migrate import upgrade
from canary.store.plans import PostgresPlans
from canary.terms import Action
from tests.bench.process import free_port

CONFIG = """
listen: 127.0.0.1:1
sidecar: {{listen: "127.0.0.1:{sidecar_port}", blind_after: off}}
admin: {{listen: "127.0.0.1:{admin_port}"}}
state_dir: state
routes:
  chat:
    versions:
      v1: {{upstream: "http://127.0.0.1:{stable_port}", build: one}}
      v2: {{upstream: "http://127.0.0.1:{candidate_port}", build: two}}
    stable: v1
    mirror: {{paths: [/v1/chat/completions]}}
plans:
  shadow:
    shadow: {{share: 100%, min_pairs: 1000000}}
    stages: [{{weight: 5%, dwell: 1h}}]
"""
PROFILE_COUNT = 4_000


class WallClock:
    """The machine's time."""

    def now(self) -> datetime:
        """The present instant, aware."""
        return datetime.now(tz=UTC)


def a_profile() -> Profile:
    """What stable would have looked like: 2 to 18 ms, evenly, one in 200 failing."""
    cells: dict[int, int] = {}
    for number in range(PROFILE_COUNT):
        age_us = 2_000 + number * 16_000 // PROFILE_COUNT
        for key in profile_cells(Fact(age_us=age_us, latency_us=age_us - 200, failed=number % 200 == 0, left=False)):
            cells[key] = cells.get(key, 0) + 1
    return Profile.of(cells)


async def begin_shadow(url: str, config_path: Path) -> None:
    """Publishes the file and starts its rollout: every request of the route is copied from then on."""
    clock = WallClock()
    file = load(config_path.read_text(encoding="utf-8"), path=str(config_path), env={})
    async with await Database.open(url) as database:
        rollouts, plans = PostgresRollouts(database), PostgresPlans(database)
        await plans.publish(file.config, by="bench")
        books = Books(rollouts=rollouts, counters=PostgresCounters(database), plans=plans, clock=clock)
        state = await create_rollout(books, Wish(route="chat", candidate="v2"), actor="bench")
        start = Decision(action=Action.START, because="the bench begins")
        segments = [await rollouts.next_segment() for _ in segments_for(state, Action.START)]
        scoring = freeze(a_profile(), scoring_spec(state))
        after = apply(state, start, clock.now(), segment_ids=segments, scoring=scoring)
        mandate = Mandate(actor="bench", at=clock.now())
        await rollouts.save(state, after, row_of(after, start, mandate=mandate), moves_traffic=True)


@contextmanager
def embedded(state: Path, *, core: int) -> Iterator[str]:
    """The product's own Postgres on one core, its tables made; gives its URL."""
    server = EmbeddedPostgres(state)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        url = server.start()
    finally:
        os.sched_setaffinity(0, before)
    try:
        upgrade(url)
        yield url
    finally:
        server.stop()


def prepare(folder: Path, url: str, *, ports: dict[str, int], sidecar_port: int) -> Path:
    """Writes the file and puts it and its rollout in force; returns the file's path."""
    path = folder / "canary.yaml"
    sites = {"stable_port": ports["stable"], "candidate_port": ports["candidate"]}
    text = CONFIG.format(**sites, sidecar_port=sidecar_port, admin_port=free_port())
    path.write_text(text, encoding="utf-8")
    asyncio.run(begin_shadow(url, path))
    return path


COUNTED = """
SELECT (SELECT count(*) FROM outcomes), (SELECT count(DISTINCT exchange_id) FROM outcomes),
       (SELECT count(*) FROM outcomes WHERE mirror_drop <> ''), (SELECT count(*) FROM outcomes WHERE failed),
       (SELECT count(*) FROM pairs), (SELECT count(DISTINCT exchange_id) FROM pairs), (SELECT count(*) FROM pairs WHERE lost),
       (SELECT coalesce(sum(rejected), 0)::bigint FROM journals)
"""
COUNTS = ("outcomes", "distinct_outcomes", "copies_dropped", "failed", "pairs", "distinct_pairs", "lost", "rejected")


class Rows:
    """What Postgres holds, asked over one connection."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)

    def counts(self) -> dict[str, int]:
        """Rows by kind."""
        found = self._connection.execute(COUNTED).fetchone()
        assert found is not None
        return dict(zip(COUNTS, found, strict=True))

    def offset(self) -> int:
        """How far the furthest journal is committed."""
        found = self._connection.execute('SELECT coalesce(max("offset"), 0) FROM journals').fetchone()
        assert found is not None
        return int(found[0])

    def database_mb(self) -> float:
        """Size of the database's files, megabytes."""
        found = self._connection.execute("SELECT pg_database_size(current_database())").fetchone()
        assert found is not None
        return int(found[0]) / 1e6

    def version(self) -> str:
        """As the server says it."""
        found = self._connection.execute("SHOW server_version").fetchone()
        assert found is not None
        return str(found[0])

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()
