"""Local orders at the sidecar: they win over every pulled snapshot until a decision row names them."""

from datetime import datetime
from pathlib import Path

import msgspec

from canary.errors import SnapshotError
from canary.store.whole_file import write_whole
from canary.terms import Frozen


class OverlayOrder(Frozen, frozen=True, kw_only=True):
    """One route goes to its stable version only."""

    reason: str
    actor: str
    at: datetime
    revision: int  # of the plan in force here when it was given
    rollout: str = ""  # the rollout whose split it stops; empty where the route had none

    @property
    def ends(self) -> str:
        """When it does, for people."""
        return f"until rollout {self.rollout} ends" if self.rollout else "until it is taken back, later rollouts included"


class Overlay(Frozen, frozen=True, kw_only=True):
    """Orders in force, by route name."""

    routes: dict[str, OverlayOrder] = {}

    @property
    def in_words(self) -> tuple[str, ...]:
        """One line for each order in force."""
        return tuple(
            f"{route}: stable alone here since {order.at:%Y-%m-%d %H:%M:%S} UTC {order.ends},"
            f" by {' '.join(order.actor.split())}: {' '.join(order.reason.split())}"
            for route, order in sorted(self.routes.items())
        )


def write_overlay(path: Path, overlay: Overlay) -> None:
    """Replaces the file. Raises SnapshotError."""
    try:
        write_whole(path, msgspec.json.encode(overlay))
    except OSError as error:
        raise SnapshotError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_overlay(path: Path) -> Overlay:
    """The overlay in `path`, an empty one where there is no file; raises SnapshotError where it is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Overlay)
    except FileNotFoundError:
        return Overlay()
    except OSError as error:
        raise SnapshotError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SnapshotError(f"{path}: {error}") from error
