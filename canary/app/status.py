"""run/supervisor.json: what the supervisor knows of its children, for the sidecar's /livez and for `doctor`."""

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from canary.app.restarts import flapping
from canary.app.slots import Slot


class StatusFile:
    """Written by atomic rename, only where something changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = ""

    def write(self, slots: Sequence[Slot], now: float) -> None:
        """Replaces the file. A full disk must not stop the supervisor: the old file stays."""
        text = json.dumps(_status(slots, now), sort_keys=True)
        if text == self._written:
            return
        hidden = self._path.with_name(f".{self._path.name}.new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            hidden.write_text(text + "\n")
            hidden.replace(self._path)
            self._written = text
        except OSError:
            with contextlib.suppress(OSError):  # the disk may take no change at all by now
                hidden.unlink()


def _status(slots: Sequence[Slot], now: float) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "flapping": [slot.spec.name for slot in slots if flapping(slot.history, now)],
        "children": {
            slot.spec.name: {
                "pid": slot.child.pid if slot.child is not None else None,
                "ready": slot.ready,
                "deaths": slot.history.total,
                "queue_served_by": sorted(slot.lent_to),
            }
            for slot in slots
        },
    }
