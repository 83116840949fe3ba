"""The first snapshot of a machine that has none and reaches no database: its own file speaks, until a plan comes."""

import time

from canary.app.home import Home
from canary.store.snapshot import Snapshot, write_snapshot


def write_first_snapshot(home: Home) -> bool:
    """Writes revision 0 from the file where there is no snapshot yet; True where it did."""
    if home.snapshot.exists():
        return False
    config = home.file.config
    snapshot = Snapshot(
        revision=0,
        database_id="",
        made_at_us=time.time_ns() // 1_000,
        routes=config.routes,
        limits=config.limits,
        answering=config.answering,
        force_key=config.force_key,
        spool_max_bytes=config.spool_max_bytes,
    )
    write_snapshot(home.snapshot, snapshot)
    return True
