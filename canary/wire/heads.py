"""A request's head as a value, once it was read, with the form that it shares with others; words that all heads share.

Its class stays with msgspec, which the compiled build cannot take in: nothing here is compiled.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from canary.wire.form import Field, Form

Named = tuple[bytes, bytes]
Note = tuple[str, str]
"""How a field is written down."""

NO_BODY: Final = 0
BY_LENGTH: Final = 1
CHUNKED: Final = 2
UNTIL_CLOSE: Final = 3
TUNNEL: Final = 4


class RequestHead(msgspec.Struct, gc=False):
    """A checked request head: everything hop-by-hop and all framing is out of `fields`."""

    method: bytes
    target: bytes  # origin-form, or `*`
    path: bytes  # of the target, without query
    listed: list[Field] | None = []  # None until somebody asks for the fields of a head of a known form
    authority: bytes = b""  # of the Host field or the absolute target
    length: int = 0  # of the body; 0 without one, -1 where it is chunked
    chunked: bool = False
    expects: bool = False  # 100-continue
    http10: bool = False
    keep_alive: bool = True
    force: bytes = b""  # value of x-canary-force, never forwarded
    forwarded_for: bytes = b""
    forwarded_proto: bytes = b""
    forwarded_host: bytes = b""
    upgrade: bytes = b""  # the protocol asked for
    form: Form | None = None  # shared by the heads of clients that repeat themselves
    values: tuple[bytes, ...] = ()  # what stands in the places that the form leaves open

    if TYPE_CHECKING:

        def __copy__(self) -> "RequestHead": ...

    @property
    def fields(self) -> list[Field]:
        """All fields that go on, in their order."""
        listed = self.listed
        if listed is None:
            assert self.form is not None
            listed = self.listed = self.form.fields_of(self.values)
        return listed

    def find(self, name: bytes) -> bytes | None:
        """The first value of the field with that lower-case name."""
        for low, value, _ in self.fields:
            if low == name:
                return value
        return None

    @property
    def host(self) -> bytes:
        """The authority's host in lower case, without its port."""
        authority = self.authority.lower()
        if authority.startswith(b"["):
            return authority[: authority.find(b"]") + 1]
        return authority.partition(b":")[0]
