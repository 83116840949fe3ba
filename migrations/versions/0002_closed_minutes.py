"""Closed minutes in fleet rows and totals, first events of users, calibration, facts beside outcomes and pairs."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A minute is written in parts, so that a commit rewrites only the seconds of start that it touched. What was written before
# stays as it is: part 0 is a minute in one piece.
CLOSED = """
ALTER TABLE counters
    ADD COLUMN part smallint NOT NULL DEFAULT 0,
    ADD COLUMN journals text[],
    DROP CONSTRAINT counters_pkey,
    ADD CONSTRAINT counters_pkey PRIMARY KEY (rollout, journal, segment, minute, part);
COMMENT ON TABLE counters IS
    'Cumulative counts of a journal, segment and minute of starts (since 1970, its clock) in parts; journal '''' is the fleet.';

CREATE TABLE totals (
    rollout text NOT NULL,
    segment integer NOT NULL,
    minute integer NOT NULL,
    holds bigint NOT NULL,
    first_s bigint NOT NULL,
    last_s bigint NOT NULL,
    cells bytea NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT totals_pkey PRIMARY KEY (rollout, segment)
);
COMMENT ON TABLE totals IS
    'Fleet rows of a segment added up: those with minute <= minute and revision <= holds.';

CREATE TABLE closings (
    rollout text NOT NULL,
    journal text NOT NULL,
    minute integer NOT NULL,
    CONSTRAINT closings_pkey PRIMARY KEY (rollout, journal)
);
COMMENT ON TABLE closings IS
    'Up to which minute a journal''s counts were moved into fleet rows: nothing is written there any more.';
"""

OTHERS = """
CREATE TABLE first_events (
    rollout text NOT NULL,
    metric text NOT NULL,
    unit_hash bytea NOT NULL,
    start_at_us bigint NOT NULL,
    segment integer NOT NULL,
    arm text NOT NULL,
    journal text NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT first_events_pkey PRIMARY KEY (rollout, metric, unit_hash)
);
CREATE INDEX first_events_revision_idx ON first_events (rollout, revision);
COMMENT ON TABLE first_events IS
    'The first adverse event of each user that stays on its arm, by metric; it counts once its journal''s tick has settled it.';

CREATE TABLE calibration (
    id text CONSTRAINT calibration_pkey PRIMARY KEY,
    route text NOT NULL,
    kind text NOT NULL,
    opened_at timestamptz NOT NULL,
    closed_at timestamptz NOT NULL,
    requests bigint NOT NULL,
    alarmed boolean NOT NULL,
    metric text NOT NULL,
    log_e double precision NOT NULL
);
CREATE INDEX calibration_route_idx ON calibration (route, closed_at);
COMMENT ON TABLE calibration IS
    'Pseudo-rollouts of a version against itself that have ended, and whether they raised an alarm.';

ALTER TABLE outcomes ADD COLUMN facts json;
ALTER TABLE pairs ADD COLUMN facts json, ADD COLUMN shadow_facts json;
"""


def upgrade() -> None:
    for statements in (CLOSED, OTHERS):
        op.execute(statements)


def downgrade() -> None:
    # Parts and fleet rows mean nothing to the version before, and bytes cannot be added up here: counting begins anew.
    op.execute("ALTER TABLE pairs DROP COLUMN facts, DROP COLUMN shadow_facts")
    op.execute("ALTER TABLE outcomes DROP COLUMN facts")
    op.execute("DROP TABLE calibration, first_events, closings, totals")
    op.execute("DELETE FROM counters")
    op.execute("ALTER TABLE counters DROP COLUMN part, DROP COLUMN journals")
    op.execute("ALTER TABLE counters ADD CONSTRAINT counters_pkey PRIMARY KEY (rollout, journal, segment, minute)")
    op.execute("""
        COMMENT ON TABLE counters IS
            'Cumulative counts of one journal, segment and minute of starts (since 1970, its clock).'""")
