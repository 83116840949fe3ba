"""The leader's lease: who may decide, under which epoch, and what time the database has."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from canary.ports import Fence, Lease, LeaseBook

LEASE: Final = "control"
TTL_S: Final = 5.0
RENEW_AFTER_S: Final = TTL_S / 3


class Leader:
    """Holds the lease or tries to. What it says is a hint: the book's fence refuses whoever was deposed meanwhile."""

    def __init__(self, leases: LeaseBook, holder: str, *, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._leases = leases
        self._holder = holder
        self._elapsed = elapsed
        self._lease: Lease | None = None
        self._asked_s = 0.0

    async def lead(self) -> Fence | None:
        """The fence to write under, the lease renewed where that is due; None while another leads."""
        if self._lease is None or self._elapsed() - self._asked_s >= RENEW_AFTER_S:
            # Measured from before the question, so that a slow answer shortens the lease that we believe in.
            asked_s = self._elapsed()
            self._lease = await self._leases.acquire(LEASE, self._holder, TTL_S)
            self._asked_s = asked_s
        if self._lease is None:
            return None
        return Fence(name=LEASE, epoch=self._lease.epoch)

    def now(self) -> datetime:
        """Database time, carried on by the monotonic clock: the machines of two leaders may disagree by an hour."""
        assert self._lease is not None, "only a leader dates decisions"
        taken_at = self._lease.expires_at - timedelta(seconds=TTL_S)
        return taken_at + timedelta(seconds=self._elapsed() - self._asked_s)

    def deposed(self) -> None:
        """The book refused a write: the lease is not ours until it is taken anew."""
        self._lease = None

    async def resign(self) -> None:
        """Gives the lease back, so that another leads at once."""
        lease, self._lease = self._lease, None
        if lease is not None:
            await self._leases.release(lease)
