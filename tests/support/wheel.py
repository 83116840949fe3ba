"""The product as a wheel holds it, unpacked where no source lies beside it: the compiled build, for tests and the bench.

    python -m tests.support.wheel FOLDER     # FOLDER/site: the wheel's content; beside it the tests with their settings

Built by pip in an environment of its own, as `pip install .` does. PYTHONPATH=FOLDER/site puts it before an editable install.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from tests.support.source_tree import REPOSITORY, python_files

SETTINGS = ("pyproject.toml", "README.md", "LICENSE", "deploy/build_hook.py")


class NotBuilt(Exception):
    """The wheel could not be built; the message holds the end of what pip said."""


def unpack(site: Path) -> Path:
    """Builds the wheel and lays out its content in `site`, which is new; returns it. Raises NotBuilt."""
    with tempfile.TemporaryDirectory(prefix="canary-wheel-") as made:
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", made, str(REPOSITORY)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotBuilt(f"pip wheel: {done.stderr.strip()[-600:]}")
        (wheel,) = Path(made).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    return site


def is_compiled(site: Path) -> bool:
    """Whether the wheel's data plane was compiled."""
    return any((site / "canary" / "wire" / f"server{suffix}").exists() for suffix in EXTENSION_SUFFIXES)


def kept() -> Path:
    """The wheel of the source as it is now, unpacked in the temporary folder and kept there for later. Raises NotBuilt."""
    digest = hashlib.blake2b(repr((sys.version, sys.executable, os.environ.get("CANARY_PURE"))).encode(), digest_size=8)
    for path in (*(REPOSITORY / name for name in SETTINGS), *python_files("canary", "migrations")):
        digest.update(path.read_bytes())
    site = Path(tempfile.gettempdir()) / f"canary-wheel-{os.getuid()}-{digest.hexdigest()}"
    if not site.exists():
        unfinished = Path(tempfile.mkdtemp(prefix="canary-wheel-"))
        unpack(unfinished).rename(site)
    return site


def main() -> None:
    """Lays out the wheel and the tests in the folder that the command line names."""
    folder = Path(sys.argv[1])
    site = unpack(folder / "site")
    shutil.copytree(REPOSITORY / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__", "results"))
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    print("compiled" if is_compiled(site) else "pure Python")


if __name__ == "__main__":
    main()
