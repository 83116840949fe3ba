"""The one file the data plane reads: written whole, checksummed, replaced by an atomic rename."""

from canary.split.spec import Answering, Limits, RouteSpec, SecretRef
from canary.terms import Frozen

FORMAT = 1


class Snapshot(Frozen, frozen=True, kw_only=True):
    """Everything that serving needs, from one revision of the plan."""

    revision: int  # of the plan in Postgres; 0 where the file alone speaks
    database_id: str
    made_at_us: int
    routes: tuple[RouteSpec, ...]
    limits: Limits = Limits()
    answering: Answering = Answering()
    force_key: SecretRef | None = None  # signs the header that forces an arm
    spool_max_bytes: int = 2_147_483_648
    format: int = FORMAT
