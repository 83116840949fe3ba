"""Publishes the checked file as a revision: at the start, when the file changes, and when somebody asks for it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog

from canary.api.services import Reloaded
from canary.app.home import Home, read_home
from canary.config.diff import differences, notes
from canary.config.document import Local
from canary.errors import CanaryError
from canary.ports import PlanBook
from canary.telemetry.metrics import PUBLISHED_REVISION, RELOADS

_SETTLE: Final = 2
"""Looks at the same time stamp before a changed file is read: editors write in several steps."""


class Publisher:
    """Reads one file again and again; a bad file changes nothing and says why."""

    def __init__(self, home: Home, *, env: Mapping[str, str]) -> None:
        self._home = home
        self._env = env
        self._log = structlog.get_logger("canary.publish")
        self._seen = self._fresh = _stamp(home.path)
        self._same = 0

    async def publish(self, plans: PlanBook) -> Reloaded:
        """Puts the file that this process was started with in force; raises VersionInUse or StoreError."""
        return await self._put_in_force(plans, self._home, dry_run=False)

    async def reload(self, plans: PlanBook, *, dry_run: bool) -> Reloaded:
        """Reads the file again; raises ConfigError, VersionInUse or StoreError, and the old one stays in force."""
        try:
            home = read_home(self._home.path, env=self._env, state_dir=self._home.state_dir)
            found = await self._put_in_force(plans, home, dry_run=dry_run)
        except CanaryError as error:
            if not dry_run:
                RELOADS.labels(result="refused").inc()
                self._log.error("the configuration stays as it is", reason=str(error), hint=error.hint)
            raise
        if not dry_run:
            RELOADS.labels(result="changed" if found.changed else "same").inc()
            self._log.info("configuration read again", revision=found.revision, changed=found.changed, notes=list(found.notes))
        return found

    def changed(self) -> bool:
        """True once after the file changed on disk and then stood still."""
        stamp = _stamp(self._home.path)
        self._same = self._same + 1 if stamp == self._fresh else 1
        self._fresh = stamp
        if stamp is None or stamp == self._seen or self._same < _SETTLE:
            return False
        self._seen = stamp
        return True

    async def _put_in_force(self, plans: PlanBook, home: Home, *, dry_run: bool) -> Reloaded:
        before = await plans.in_force()
        old, new = before.published, home.file.config
        changes = differences(old.config, new) if old else [f"routes.{route.name}: added" for route in new.routes]
        if dry_run:
            revision = old.revision if old else 0
            return Reloaded(
                revision=revision,
                changed=old is None or old.hash != new.hash,
                differences=tuple(changes),
                notes=(*notes(new, before.stable), *self._restarts(home)),
            )
        published = await plans.publish(new, by=f"file {home.path.name}")
        PUBLISHED_REVISION.set(published.revision)
        stable = (await plans.in_force()).stable
        return Reloaded(
            revision=published.revision,
            changed=old is None or published.revision != old.revision,
            differences=tuple(changes),
            notes=(*notes(new, stable), *self._restarts(home)),
        )

    def _restarts(self, home: Home) -> Sequence[str]:
        """This machine's own settings are read at a start only."""
        old, new = self._home.file.local, home.file.local
        changed = [name for name in Local.__struct_fields__ if getattr(old, name) != getattr(new, name)]
        return [f"{name}: changed in the file, in force after a restart" for name in changed]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - follows links: Kubernetes swaps a link under the name
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
