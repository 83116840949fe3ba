"""What a process of ours stands on: the checked file, the folder of its state, the secrets that it names."""

import fcntl
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from canary.config.document import ConfigFile
from canary.config.load import load
from canary.errors import CanaryError, ConfigError
from canary.split.spec import SecretRef

DEFAULT_FILE: Final = Path("canary.yaml")
EMBEDDED: Final = "embedded"
DATABASE_URL: Final = "CANARY_DATABASE_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """One parsed canary.yaml and where it stands."""

    path: Path  # of the file, absolute
    file: ConfigFile
    state_dir: Path  # absolute

    @property
    def folder(self) -> Path:
        """Of the file: relative names in it begin here."""
        return self.path.parent

    @property
    def snapshot(self) -> Path:
        """The one file that the data plane reads."""
        return self.state_dir / "snapshot.json"

    @property
    def overlay(self) -> Path:
        """Orders given at this sidecar."""
        return self.state_dir / "overlay.json"

    @property
    def status(self) -> Path:
        """What the supervisor writes about its children."""
        return self.state_dir / "run" / "supervisor.json"

    def database(self, env: Mapping[str, str]) -> str:
        """`embedded` or a URL."""
        return env.get(DATABASE_URL) or self.file.local.database or EMBEDDED

    def token(self, env: Mapping[str, str]) -> str | None:
        """The admin token; raises ConfigError where the file names one that is not there."""
        ref = self.file.local.admin_token
        return None if ref is None else secret(ref, env=env, folder=self.folder, what="admin.token")

    def sidecar(self) -> str:
        """The name under which this machine's data plane is known; made once."""
        path = self.state_dir / "sidecar-id"
        try:
            return path.read_text().strip() or _make_sidecar(path)
        except FileNotFoundError:
            return _make_sidecar(path)


def read_home(path: Path, *, env: Mapping[str, str], state_dir: Path | None = None) -> Home:
    """Reads and checks the file; raises ConfigError with all mistakes."""
    shown, path = str(path), path.absolute()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{shown}: there is no such file", hint="`canary init` writes one to begin with") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{shown}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    file = load(text, path=shown, env=env)
    state = state_dir.absolute() if state_dir else path.parent / file.local.state_dir
    return Home(path=path, file=file, state_dir=state)


def make_state_dir(home: Home) -> None:
    """Makes the state folder, for its owner only; raises CanaryError."""
    try:
        (home.state_dir / "run").mkdir(mode=0o700, parents=True, exist_ok=True)
        home.state_dir.chmod(0o700)
    except OSError as error:
        raise CanaryError(
            f"cannot use {home.state_dir} for state: {error.strerror or error}", hint="set state_dir in canary.yaml"
        ) from error


def claim(home: Home) -> int:
    """Takes the state folder for this process; raises CanaryError where another supervisor holds it. Keep the descriptor."""
    handle = os.open(home.state_dir / "run" / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise CanaryError(
            f"another canary runs on {home.state_dir}", hint="stop it, or give this one a state_dir of its own"
        ) from None
    return handle


def secret(ref: SecretRef, *, env: Mapping[str, str], folder: Path, what: str) -> str:
    """The secret's value; raises ConfigError, which never holds it."""
    if ref.env:
        if value := env.get(ref.env, "").strip():
            return value
        raise ConfigError(f"{what}: the environment variable {ref.env} is not set")
    try:
        value = (folder / ref.file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what}: {ref.file} cannot be read: {error}") from error
    if not value:
        raise ConfigError(f"{what}: {ref.file} is empty")
    return value


def _make_sidecar(path: Path) -> str:
    made = secrets.token_hex(8)
    hidden = path.with_name(f".{path.name}.{made}")
    hidden.write_text(made + "\n")
    try:
        os.link(hidden, path)
    except FileExistsError:
        made = path.read_text().strip()  # another process was quicker
    finally:
        hidden.unlink()
    return made
