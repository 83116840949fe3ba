"""The tables, declared: what migrations must arrive at, and what the console's queries are written against.

High-volume tables (outcomes, pairs, bodies) are keyed by exchange and database time, partitioned by day, and know no sequence
and no foreign key, so that they can be distributed later; the small tables can be copied to every node.
"""

from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP

metadata: Final = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    }
)

ACTIVE: Final = "phase NOT IN ('done', 'rolled_back', 'cancelled')"

_Col = Column[Any]


def _at(name: str, **options: Any) -> _Col:
    return Column(name, TIMESTAMP(timezone=True), **({"nullable": False} | options))


def _text(name: str, **options: Any) -> _Col:
    return Column(name, Text, **({"nullable": False} | options))


def _big(name: str, **options: Any) -> _Col:
    return Column(name, BigInteger, **({"nullable": False} | options))


def _int(name: str, **options: Any) -> _Col:
    return Column(name, Integer, **({"nullable": False, "autoincrement": False} | options))


def _small(name: str, **options: Any) -> _Col:
    return Column(name, SmallInteger, **({"nullable": False} | options))


def _bool(name: str, **options: Any) -> _Col:
    return Column(name, Boolean, **({"nullable": False} | options))


def _of_rollout() -> _Col:
    return Column("rollout", Text, ForeignKey("rollouts.id"), nullable=False)


def _exchange_key() -> tuple[_Col, _Col]:
    return (
        Column("exchange_id", Uuid, primary_key=True),
        Column("recorded_at", TIMESTAMP(timezone=True), primary_key=True),
    )


def _side(lane: str) -> tuple[_Col, ...]:
    return (_small(f"{lane}_status"), _bool(f"{lane}_failed"), _big(f"{lane}_end_us"), _big(f"{lane}_bytes"))


def _single_row() -> _Col:
    return _bool("one", primary_key=True, server_default=text("true"))


meta: Final = Table(
    "meta",
    metadata,
    _single_row(),
    Column("database_id", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    _at("created_at", server_default=text("now()")),
    CheckConstraint("one", name="one_check"),
    comment="One row: which database this is.",
)
plan: Final = Table(
    "plan",
    metadata,
    _single_row(),
    _big("plan_revision", server_default=text("0")),
    CheckConstraint("one", name="one_check"),
    comment="One row: grows with every publication and every decision that moves traffic.",
)
config_revisions: Final = Table(
    "config_revisions",
    metadata,
    _big("revision", primary_key=True, autoincrement=False),
    _text("hash"),
    Column("config", JSON(none_as_null=True), nullable=False),
    _at("published_at"),
    _text("published_by"),
    comment="What was published, in order. It holds references to secrets, never secrets.",
)
routes: Final = Table(
    "routes",
    metadata,
    _text("route", primary_key=True),
    _text("stable"),
    _at("since"),
    _text("set_by"),
    comment="The version in charge of each route, since when and by whom.",
)
versions: Final = Table(
    "versions",
    metadata,
    _text("route", primary_key=True),
    _text("hash", primary_key=True),
    _text("name"),
    Column("definition", JSON(none_as_null=True), nullable=False),
    _big("first_revision"),
    comment="Every definition of a version that was ever published.",
)
rollouts: Final = Table(
    "rollouts",
    metadata,
    _text("id", primary_key=True),
    _text("route"),
    _text("stable"),
    _text("candidate"),
    _text("candidate_hash"),
    _text("phase"),
    _bool("paused"),
    _text("waiting"),
    _int("weight_bp"),
    _text("because"),
    _big("revision"),
    _big("plan_revision"),
    _text("plan_hash"),
    _at("created_at"),
    _text("created_by"),
    _at("ended_at", nullable=True),
    Column("state", JSON(none_as_null=True), nullable=False),
    Index("rollouts_active_key", "route", unique=True, postgresql_where=text(ACTIVE)),
    Index("rollouts_created_idx", "created_at"),
    comment="Where each rollout stands; state is the whole value.",
)
segment_ids: Final = Sequence("segment_ids", data_type=Integer, metadata=metadata)
segments: Final = Table(
    "segments",
    metadata,
    _int("id", primary_key=True),
    _of_rollout(),
    _int("stage"),
    _int("weight_bp"),
    _int("shadow_bp"),
    _text("scored"),
    _at("opened_at"),
    Index("segments_rollout_idx", "rollout"),
    comment="Periods of constant weight, salt and scoring; stage -1 is the shadow.",
)
decisions: Final = Table(
    "decisions",
    metadata,
    _text("id", primary_key=True),
    _of_rollout(),
    _big("revision"),
    _text("action"),
    _text("because"),
    _text("phase"),
    _text("actor"),
    _at("at"),
    _big("epoch"),
    _text("plan_hash"),
    Column("body", JSON(none_as_null=True), nullable=False),
    UniqueConstraint("rollout", "revision", name="decisions_rollout_revision_key"),
    comment="Every move with its reason; body holds verdicts, evidence and the counts that were read.",
)
leases: Final = Table(
    "leases",
    metadata,
    _text("name", primary_key=True),
    _text("holder"),
    _big("epoch"),
    _at("expires_at"),
    comment="Who may decide; the epoch only grows.",
)
sidecars: Final = Table(
    "sidecars",
    metadata,
    _text("sidecar", primary_key=True),
    _big("plan_revision"),
    _int("workers"),
    _at("seen_at"),
    comment="Which plan each sidecar follows.",
)
journals: Final = Table(
    "journals",
    metadata,
    _text("journal", primary_key=True),
    _text("sidecar"),
    _big("offset"),
    _big("tick_at_us"),
    _at("ticked_at", nullable=True),
    _bool("dead"),
    _big("rejected"),
    _at("committed_at"),
    comment="How far each journal is recorded: the offset moves in the transaction that writes what was read.",
)
counters: Final = Table(
    "counters",
    metadata,
    _text("rollout", primary_key=True),
    _text("journal", primary_key=True),
    _int("segment", primary_key=True),
    _int("minute", primary_key=True),
    _small("part", primary_key=True, autoincrement=False, server_default=text("0")),
    Column("cells", LargeBinary, nullable=False),
    _big("revision"),
    Column("journals", ARRAY(Text)),
    Index("counters_revision_idx", "rollout", "revision"),
    comment="Cumulative counts of a journal, segment and minute of starts (since 1970, its clock) in parts;"
    " journal '' is the fleet.",
)
totals: Final = Table(
    "totals",
    metadata,
    _text("rollout", primary_key=True),
    _int("segment", primary_key=True),
    _int("minute"),
    _big("holds"),
    _big("first_s"),
    _big("last_s"),
    Column("cells", LargeBinary, nullable=False),
    _big("revision"),
    comment="Fleet rows of a segment added up: those with minute <= minute and revision <= holds.",
)
closings: Final = Table(
    "closings",
    metadata,
    _text("rollout", primary_key=True),
    _text("journal", primary_key=True),
    _int("minute"),
    comment="Up to which minute a journal's counts were moved into fleet rows: nothing is written there any more.",
)
first_events: Final = Table(
    "first_events",
    metadata,
    _text("rollout", primary_key=True),
    _text("metric", primary_key=True),
    Column("unit_hash", LargeBinary, primary_key=True),
    _big("start_at_us"),
    _int("segment"),
    _text("arm"),
    _text("journal"),
    _big("revision"),
    Index("first_events_revision_idx", "rollout", "revision"),
    comment="The first adverse event of each user that stays on its arm, by metric; it counts once its journal's tick has"
    " settled it.",
)
calibration: Final = Table(
    "calibration",
    metadata,
    _text("id", primary_key=True),
    _text("route"),
    _text("kind"),
    _at("opened_at"),
    _at("closed_at"),
    _big("requests"),
    _bool("alarmed"),
    _text("metric"),
    Column("log_e", Double, nullable=False),
    Index("calibration_route_idx", "route", "closed_at"),
    comment="Pseudo-rollouts of a version against itself that have ended, and whether they raised an alarm.",
)
profiles: Final = Table(
    "profiles",
    metadata,
    _text("route", primary_key=True),
    _text("version_hash", primary_key=True),
    _int("hour", primary_key=True),
    _text("journal", primary_key=True),
    Column("cells", LargeBinary, nullable=False),
    comment="Cumulative histograms of stable outcomes by journal and hour (since 1970, its clock).",
)
outcomes: Final = Table(
    "outcomes",
    metadata,
    *_exchange_key(),
    _at("start_at"),
    _int("segment"),
    _small("stratum"),
    _small("bucket"),
    _small("weight_bp"),
    _small("status"),
    _bool("failed"),
    _big("end_us"),
    _small("attempts"),
    _big("request_bytes"),
    _big("response_bytes"),
    _big("connect_us", nullable=True),
    _big("written_us", nullable=True),
    _big("first_byte_us", nullable=True),
    _big("latency_us", nullable=True),
    _text("route"),
    _text("rollout", nullable=True),
    _text("lane"),
    _text("arm"),
    _text("version"),
    _text("assigned_by"),
    _text("method"),
    _text("ending"),
    _text("fault"),
    _text("mirror", nullable=True),
    _text("mirror_drop", nullable=True),
    Column("unit_hash", LargeBinary),
    _text("path"),
    Column("request_headers", JSON(none_as_null=True)),
    Column("response_headers", JSON(none_as_null=True)),
    Column("facts", JSON(none_as_null=True)),
    Index("outcomes_time_idx", "recorded_at", postgresql_using="brin"),
    Index("outcomes_rollout_idx", "rollout", "recorded_at", postgresql_where=text("rollout IS NOT NULL")),
    postgresql_partition_by="RANGE (recorded_at)",
    comment="One row per exchange, as its client saw it. Durations run from start, latency from the write.",
)
pairs: Final = Table(
    "pairs",
    metadata,
    *_exchange_key(),
    _at("start_at"),
    _int("segment"),
    _bool("same_status"),
    _bool("lost"),
    _bool("differs"),
    *_side("live"),
    *_side("shadow"),
    _big("live_latency_us", nullable=True),
    _big("live_ttfb_us", nullable=True),
    _big("shadow_latency_us", nullable=True),
    _big("shadow_ttfb_us", nullable=True),
    _bool("same_body", nullable=True),
    _text("route"),
    _text("rollout", nullable=True),
    _text("live_version"),
    _text("shadow_version"),
    _text("live_ending"),
    _text("shadow_ending"),
    Column("facts", JSON(none_as_null=True)),
    Column("shadow_facts", JSON(none_as_null=True)),
    Index("pairs_time_idx", "recorded_at", postgresql_using="brin"),
    Index("pairs_rollout_idx", "rollout", "exchange_id", postgresql_where=text("rollout IS NOT NULL")),
    Index("pairs_differing_idx", "exchange_id", postgresql_where=text("differs")),
    postgresql_partition_by="RANGE (recorded_at)",
    comment="Both outcomes of one mirrored request. same_body is NULL where it was not compared.",
)
bodies: Final = Table(
    "bodies",
    metadata,
    *_exchange_key(),
    _at("keep_until"),
    _text("route"),
    Column("body", LargeBinary, nullable=False),
    Index("bodies_time_idx", "recorded_at", postgresql_using="brin"),
    Index("bodies_keep_idx", "keep_until"),
    postgresql_partition_by="RANGE (recorded_at)",
    comment="Bodies of an exchange or pair, zstd over msgpack; only where the route records bodies.",
)
