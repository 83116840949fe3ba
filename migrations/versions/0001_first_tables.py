"""First tables: what is in force, who decides, what was counted, what was recorded."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# High-volume tables: keyed by exchange and database time, partitioned by day, no sequences, no foreign keys.
# The DEFAULT partition takes what comes before anyone made the day's own.
RECORDED = """
CREATE TABLE outcomes (
    exchange_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL,
    start_at timestamptz NOT NULL,
    segment integer NOT NULL,
    stratum smallint NOT NULL,
    bucket smallint NOT NULL,
    weight_bp smallint NOT NULL,
    status smallint NOT NULL,
    failed boolean NOT NULL,
    end_us bigint NOT NULL,
    attempts smallint NOT NULL,
    request_bytes bigint NOT NULL,
    response_bytes bigint NOT NULL,
    connect_us bigint,
    written_us bigint,
    first_byte_us bigint,
    latency_us bigint,
    route text NOT NULL,
    rollout text,
    lane text NOT NULL,
    arm text NOT NULL,
    version text NOT NULL,
    assigned_by text NOT NULL,
    method text NOT NULL,
    ending text NOT NULL,
    fault text NOT NULL,
    mirror text,
    mirror_drop text,
    unit_hash bytea,
    path text NOT NULL,
    request_headers json,
    response_headers json,
    CONSTRAINT outcomes_pkey PRIMARY KEY (exchange_id, recorded_at)
) PARTITION BY RANGE (recorded_at);
CREATE TABLE outcomes_default PARTITION OF outcomes DEFAULT;
CREATE INDEX outcomes_time_idx ON outcomes USING brin (recorded_at);
CREATE INDEX outcomes_rollout_idx ON outcomes (rollout, recorded_at) WHERE rollout IS NOT NULL;
COMMENT ON TABLE outcomes IS 'One row per exchange, as its client saw it. Durations run from start, latency from the write.';

CREATE TABLE pairs (
    exchange_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL,
    start_at timestamptz NOT NULL,
    segment integer NOT NULL,
    same_status boolean NOT NULL,
    lost boolean NOT NULL,
    differs boolean NOT NULL,
    live_status smallint NOT NULL,
    live_failed boolean NOT NULL,
    live_end_us bigint NOT NULL,
    live_bytes bigint NOT NULL,
    shadow_status smallint NOT NULL,
    shadow_failed boolean NOT NULL,
    shadow_end_us bigint NOT NULL,
    shadow_bytes bigint NOT NULL,
    live_latency_us bigint,
    live_ttfb_us bigint,
    shadow_latency_us bigint,
    shadow_ttfb_us bigint,
    same_body boolean,
    route text NOT NULL,
    rollout text,
    live_version text NOT NULL,
    shadow_version text NOT NULL,
    live_ending text NOT NULL,
    shadow_ending text NOT NULL,
    CONSTRAINT pairs_pkey PRIMARY KEY (exchange_id, recorded_at)
) PARTITION BY RANGE (recorded_at);
CREATE TABLE pairs_default PARTITION OF pairs DEFAULT;
CREATE INDEX pairs_time_idx ON pairs USING brin (recorded_at);
CREATE INDEX pairs_rollout_idx ON pairs (rollout, exchange_id) WHERE rollout IS NOT NULL;
CREATE INDEX pairs_differing_idx ON pairs (exchange_id) WHERE differs;
COMMENT ON TABLE pairs IS 'Both outcomes of one mirrored request. same_body is NULL where it was not compared.';

CREATE TABLE bodies (
    exchange_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL,
    keep_until timestamptz NOT NULL,
    route text NOT NULL,
    body bytea NOT NULL,
    CONSTRAINT bodies_pkey PRIMARY KEY (exchange_id, recorded_at)
) PARTITION BY RANGE (recorded_at);
ALTER TABLE bodies ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE TABLE bodies_default PARTITION OF bodies DEFAULT;
CREATE INDEX bodies_time_idx ON bodies USING brin (recorded_at);
COMMENT ON TABLE bodies IS 'Bodies of an exchange or pair, zstd over msgpack; only where the route records bodies.';
"""

COUNTED = """
CREATE TABLE journals (
    journal text CONSTRAINT journals_pkey PRIMARY KEY,
    sidecar text NOT NULL,
    "offset" bigint NOT NULL,
    tick_at_us bigint NOT NULL,
    ticked_at timestamptz,
    dead boolean NOT NULL,
    rejected bigint NOT NULL,
    committed_at timestamptz NOT NULL
);
COMMENT ON TABLE journals IS 'How far each journal is recorded: the offset moves in the transaction that writes what was read.';

CREATE TABLE counters (
    rollout text NOT NULL,
    journal text NOT NULL,
    segment integer NOT NULL,
    minute integer NOT NULL,
    cells bytea NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT counters_pkey PRIMARY KEY (rollout, journal, segment, minute)
);
CREATE INDEX counters_revision_idx ON counters (rollout, revision);
COMMENT ON TABLE counters IS 'Cumulative counts of one journal, segment and minute of starts (since 1970, its clock).';

CREATE TABLE profiles (
    route text NOT NULL,
    version_hash text NOT NULL,
    hour integer NOT NULL,
    journal text NOT NULL,
    cells bytea NOT NULL,
    CONSTRAINT profiles_pkey PRIMARY KEY (route, version_hash, hour, journal)
);
COMMENT ON TABLE profiles IS 'Cumulative histograms of stable outcomes by journal and hour (since 1970, its clock).';
"""

DECIDED = """
CREATE TABLE meta (
    one boolean DEFAULT true CONSTRAINT meta_pkey PRIMARY KEY CONSTRAINT meta_one_check CHECK (one),
    database_id uuid NOT NULL DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO meta DEFAULT VALUES;
COMMENT ON TABLE meta IS 'One row: which database this is.';

CREATE TABLE plan (
    one boolean DEFAULT true CONSTRAINT plan_pkey PRIMARY KEY CONSTRAINT plan_one_check CHECK (one),
    plan_revision bigint NOT NULL DEFAULT 0
);
INSERT INTO plan DEFAULT VALUES;
COMMENT ON TABLE plan IS 'One row: grows with every publication and every decision that moves traffic.';

CREATE TABLE config_revisions (
    revision bigint CONSTRAINT config_revisions_pkey PRIMARY KEY,
    hash text NOT NULL,
    config json NOT NULL,
    published_at timestamptz NOT NULL,
    published_by text NOT NULL
);
COMMENT ON TABLE config_revisions IS 'What was published, in order. It holds references to secrets, never secrets.';

CREATE TABLE routes (
    route text CONSTRAINT routes_pkey PRIMARY KEY,
    stable text NOT NULL,
    since timestamptz NOT NULL,
    set_by text NOT NULL
);
COMMENT ON TABLE routes IS 'The version in charge of each route, since when and by whom.';

CREATE TABLE versions (
    route text NOT NULL,
    hash text NOT NULL,
    name text NOT NULL,
    definition json NOT NULL,
    first_revision bigint NOT NULL,
    CONSTRAINT versions_pkey PRIMARY KEY (route, hash)
);
COMMENT ON TABLE versions IS 'Every definition of a version that was ever published.';

CREATE TABLE rollouts (
    id text CONSTRAINT rollouts_pkey PRIMARY KEY,
    route text NOT NULL,
    stable text NOT NULL,
    candidate text NOT NULL,
    candidate_hash text NOT NULL,
    phase text NOT NULL,
    paused boolean NOT NULL,
    waiting text NOT NULL,
    weight_bp integer NOT NULL,
    because text NOT NULL,
    revision bigint NOT NULL,
    plan_revision bigint NOT NULL,
    plan_hash text NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    ended_at timestamptz,
    state json NOT NULL
);
CREATE UNIQUE INDEX rollouts_active_key ON rollouts (route) WHERE phase NOT IN ('done', 'rolled_back', 'cancelled');
CREATE INDEX rollouts_created_idx ON rollouts (created_at);
COMMENT ON TABLE rollouts IS 'Where each rollout stands; state is the whole value.';

CREATE SEQUENCE segment_ids AS integer;
CREATE TABLE segments (
    id integer CONSTRAINT segments_pkey PRIMARY KEY,
    rollout text NOT NULL CONSTRAINT segments_rollout_fkey REFERENCES rollouts (id),
    stage integer NOT NULL,
    weight_bp integer NOT NULL,
    shadow_bp integer NOT NULL,
    scored text NOT NULL,
    opened_at timestamptz NOT NULL
);
CREATE INDEX segments_rollout_idx ON segments (rollout);
COMMENT ON TABLE segments IS 'Periods of constant weight, salt and scoring; stage -1 is the shadow.';

CREATE TABLE decisions (
    id text CONSTRAINT decisions_pkey PRIMARY KEY,
    rollout text NOT NULL CONSTRAINT decisions_rollout_fkey REFERENCES rollouts (id),
    revision bigint NOT NULL,
    action text NOT NULL,
    because text NOT NULL,
    phase text NOT NULL,
    actor text NOT NULL,
    at timestamptz NOT NULL,
    epoch bigint NOT NULL,
    plan_hash text NOT NULL,
    body json NOT NULL,
    CONSTRAINT decisions_rollout_revision_key UNIQUE (rollout, revision)
);
COMMENT ON TABLE decisions IS 'Every move with its reason; body holds verdicts, evidence and the counts that were read.';

CREATE TABLE leases (
    name text CONSTRAINT leases_pkey PRIMARY KEY,
    holder text NOT NULL,
    epoch bigint NOT NULL,
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE leases IS 'Who may decide; the epoch only grows.';

CREATE TABLE sidecars (
    sidecar text CONSTRAINT sidecars_pkey PRIMARY KEY,
    plan_revision bigint NOT NULL,
    workers integer NOT NULL,
    seen_at timestamptz NOT NULL
);
COMMENT ON TABLE sidecars IS 'Which plan each sidecar follows.';
"""

VIEWS = """
CREATE VIEW v_rollouts AS
SELECT id, route, stable, candidate, phase, paused, weight_bp / 100.0 AS weight_percent, waiting, because,
       created_at, created_by, ended_at, coalesce(ended_at, now()) - created_at AS age, revision
FROM rollouts
ORDER BY created_at DESC;
COMMENT ON VIEW v_rollouts IS 'Where every rollout stands, newest first.';

CREATE VIEW v_decisions AS
SELECT d.at, r.route, d.rollout, d.action, d.because, d.phase, d.actor, d.epoch, d.id,
       d.body -> 'evidence' -> 'metrics' AS metrics
FROM decisions d JOIN rollouts r ON r.id = d.rollout
ORDER BY d.at DESC;
COMMENT ON VIEW v_decisions IS 'Who or what moved which rollout, when and why, newest first.';

CREATE VIEW v_pairs_differing AS
SELECT exchange_id, start_at, route, rollout, live_version, shadow_version, live_status, shadow_status,
       live_ending, shadow_ending, same_body, lost, live_latency_us / 1000.0 AS live_ms, shadow_latency_us / 1000.0 AS shadow_ms
FROM pairs
WHERE differs
ORDER BY exchange_id DESC;
COMMENT ON VIEW v_pairs_differing IS 'Pairs whose status, body or success disagree, or whose shadow was lost, newest first.';

CREATE VIEW v_outcomes_per_minute AS
SELECT date_trunc('minute', recorded_at) AS minute, route, rollout, arm, version, count(*) AS outcomes,
       count(*) FILTER (WHERE failed) AS failed,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_us) / 1000.0 AS p50_ms,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY latency_us) / 1000.0 AS p95_ms
FROM outcomes
GROUP BY 1, 2, 3, 4, 5;
COMMENT ON VIEW v_outcomes_per_minute IS 'Rate, failures and latency per arm; without a condition on minute it reads all.';

CREATE VIEW v_recording AS
SELECT sidecar, journal, dead, rejected, committed_at, now() - committed_at AS since_commit, now() - ticked_at AS since_tick
FROM journals
ORDER BY committed_at DESC;
COMMENT ON VIEW v_recording IS 'How fresh each journal''s recording is.';
"""


def upgrade() -> None:
    for statements in (DECIDED, COUNTED, RECORDED, VIEWS):
        op.execute(statements)


def downgrade() -> None:
    op.execute("DROP VIEW v_recording, v_outcomes_per_minute, v_pairs_differing, v_decisions, v_rollouts")
    op.execute("DROP TABLE bodies, pairs, outcomes, profiles, counters, journals")
    op.execute("DROP TABLE sidecars, leases, decisions, segments, rollouts, versions, routes, config_revisions, plan, meta")
    op.execute("DROP SEQUENCE segment_ids")
