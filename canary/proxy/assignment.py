"""Which arm a request is on, and why: fixed before anything is sent, for the exchange's whole life."""

from typing import Final

from canary.terms import UNSCORED, Arm, AssignedBy

NO_COIN: Final = -1
"""In place of a bucket, where no coin was tossed."""


class Assignment:
    """Never changes. No msgspec here: compiled, its fields are read without look-ups by name."""

    __slots__ = ("arm", "assigned_by", "bucket", "in_share", "segment", "unit_hash")

    def __init__(
        self,
        arm: Arm = Arm.STABLE,
        assigned_by: AssignedBy = AssignedBy.DEFAULT,
        segment: int = UNSCORED,
        bucket: int = NO_COIN,
        unit_hash: bytes = b"",
        in_share: bool = False,
    ) -> None:
        self.arm = arm
        self.assigned_by = assigned_by
        self.segment = segment
        self.bucket = bucket
        self.unit_hash = unit_hash
        self.in_share = in_share  # of the shadow
