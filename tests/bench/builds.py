"""Which build of the product is measured: compiled, as a wheel ships it, or the source as it lies here."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.bench.peers import Skipped
from tests.support.source_tree import REPOSITORY
from tests.support.wheel import NotBuilt, is_compiled, kept

SAFE = {"PYTHONSAFEPATH": "1"}  # the bench runs where the source lies, which would come first
_ASKED = "from canary.proxy.build import build; print(build())"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """An interpreter, and where it finds the product."""

    python: str
    environ: Mapping[str, str]
    says: str


def pure() -> Build:
    """The source as it lies here, on the Python that runs the bench."""
    return Build(python=sys.executable, environ=SAFE | {"PYTHONPATH": str(REPOSITORY)}, says="pure Python")


@cache
def shipped(python: Path | None) -> Build:
    """The product as that interpreter has it installed; None: as a wheel made of this source holds it. Raises Skipped."""
    if python is not None:
        asked = subprocess.run([python, "-P", "-c", _ASKED], capture_output=True, text=True, check=False)
        if asked.returncode:
            raise Skipped(f"{python}: {asked.stderr.strip()[-200:]}")
        return Build(python=str(python), environ=SAFE, says=asked.stdout.strip())
    sys.stderr.write("compiling the product, once for this source\n")
    try:
        site = kept()
    except NotBuilt as error:
        raise Skipped(str(error)) from error
    if not is_compiled(site):
        raise Skipped("the product could not be compiled: no C compiler with Python's headers, or CANARY_PURE is set")
    return Build(python=sys.executable, environ=SAFE | {"PYTHONPATH": str(site)}, says="compiled")
