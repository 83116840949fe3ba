"""Which build of the data plane is installed here: a wheel holds it compiled, a checkout as source."""

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec


def build() -> str:
    """`compiled` or `pure Python`, without importing either."""
    found = find_spec("canary.wire.server")
    assert found is not None
    return "compiled" if (found.origin or "").endswith(tuple(EXTENSION_SUFFIXES)) else "pure Python"
