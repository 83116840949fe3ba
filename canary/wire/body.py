"""A request's body as it comes: by length or in chunks, its end found to the byte, its size bounded."""

from canary.wire.framing import ChunkReader

LEAST_BYTES_S = 1_024
"""A body slower than this on average, after its first grace, is an attack."""


class TooLarge(Exception):
    """The body is over the limit."""


class RequestBody:
    """Follows one body; keeps its pieces while they are buffered."""

    __slots__ = ("_chunks", "_left", "_limit", "pieces", "since", "size")

    def __init__(self, length: int, *, limit: int, now: float) -> None:
        """`length` -1: in chunks. `now`: coarse monotonic seconds. Raises TooLarge."""
        if length > limit:
            raise TooLarge
        self._chunks = ChunkReader() if length < 0 else None
        self._left = length
        self._limit = limit
        self.pieces: list[bytes] = []
        self.since = now
        self.size = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes, bool]:
        """The body's part of `data`, what follows it, and whether it ended. Raises BadFraming, TooLarge."""
        if self._chunks is None:
            piece = data[: self._left]
            self._left -= len(piece)
            rest, last = data[len(piece) :], not self._left
        else:
            piece, used = self._chunks.feed(data)
            rest, last = data[used:], self._chunks.done
        self.size += len(piece)
        if self.size > self._limit:
            raise TooLarge
        return piece, rest, last

    def owes(self, now: float, grace_s: float) -> bool:
        """True where it is slower than any honest client."""
        return self.size < (now - self.since - grace_s) * LEAST_BYTES_S

    def take(self) -> bytes:
        """All pieces kept so far."""
        body = b"".join(self.pieces)
        self.pieces.clear()
        return body
