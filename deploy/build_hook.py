"""Compiles the data plane into the wheel, from the same source that runs without it.

Read by hatchling (pyproject.toml, `tool.hatch.build.targets.wheel.hooks.custom`). An editable install stays as it is: what is
edited is what runs. Where no C compiler is, or CANARY_PURE=1 asks for it, the wheel holds the source alone; one line says so.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

GROUP = "canary"  # the one shared object behind all modules is named after it
OPTIMISATION = "2"
# pyproject.toml's strict settings are for people who change the source; here only what the compiler needs is checked
CHECKS = ("--config-file=", "--ignore-missing-imports", f"--python-executable={sys.executable}")
_PROBE = "#include <Python.h>\nPyMODINIT_FUNC PyInit_probe(void) { return NULL; }\n"


class CompiledWheel(BuildHookInterface[Any]):
    """Adds a compiled module beside each source file that the settings name."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before a wheel is put together; `version` is "standard" or "editable"."""
        if version != "standard":
            return
        reason = why_not()
        if reason:
            sys.stderr.write(f"canary: {reason}: this wheel holds the source alone, and its data plane runs slower\n")
            return
        self._folder = tempfile.TemporaryDirectory(prefix="canary-wheel-")
        root, target = Path(self.root), Path(self._folder.name)
        for made in compile_into(target, root, sources(root, self.config)):
            build_data["force_include"][str(made)] = made.relative_to(target / "out").as_posix()
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Clears away what was compiled: it is in the wheel now."""
        del version, build_data, artifact_path
        folder = getattr(self, "_folder", None)
        if folder is not None:
            folder.cleanup()


def sources(root: Path, config: dict[str, Any]) -> list[str]:
    """What is compiled, as the settings say: all that these patterns find but the files left out; relative to the root."""
    found = {path.relative_to(root).as_posix() for pattern in config["compiled"] for path in root.glob(pattern)}
    return sorted(found - set(config["pure"]))


def why_not() -> str:
    """Why nothing is compiled here; empty where it is."""
    if os.environ.get("CANARY_PURE", "") not in ("", "0"):
        return "CANARY_PURE is set"
    if sys.implementation.name != "cpython":
        return f"{sys.implementation.name} has no use for compiled modules"
    from setuptools import Extension
    from setuptools.errors import BaseError, CompileError, LinkError

    with tempfile.TemporaryDirectory(prefix="canary-probe-") as folder:
        source = Path(folder) / "probe.c"
        source.write_text(_PROBE, encoding="ascii")
        try:
            _build(Path(folder), [Extension("probe", [str(source)])])
        except (BaseError, CompileError, LinkError) as error:
            return f"no C compiler with Python's headers was found ({' '.join(str(error).split())})"
    return ""


def compile_into(target: Path, root: Path, files: list[str]) -> list[Path]:
    """The shared objects of these files, laid out under `target`/out as they lie in the package."""
    from mypyc.build import mypycify

    before = Path.cwd()
    os.chdir(root)  # the compiler names modules by their paths from here
    try:
        extensions = mypycify(
            [*CHECKS, f"--cache-dir={target / 'types'}", *files],
            opt_level=OPTIMISATION,
            debug_level="0",
            group_name=GROUP,
            target_dir=str(target / "c"),
        )
        _build(target, extensions)
    except SystemExit as error:  # how the compiler says that it does not understand the source
        raise RuntimeError("the data plane could not be compiled; CANARY_PURE=1 leaves it as source") from error
    finally:
        os.chdir(before)
    return sorted(path for path in (target / "out").rglob("*") if path.is_file())


def _build(target: Path, extensions: list[Any]) -> None:
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    command = build_ext(Distribution({"name": GROUP, "ext_modules": extensions}))
    command.build_lib, command.build_temp = str(target / "out"), str(target / "objects")
    command.ensure_finalized()
    command.run()
