"""An answer's head as a value, once it was read. No msgspec here: compiled, its fields are read without look-ups by name."""

from canary.wire.heads import NO_BODY, Named, Note


class AnswerHead:
    """A checked answer head, without hop-by-hop fields and without its last empty line."""

    __slots__ = ("fields", "framing", "keep_alive_s", "length", "lines", "noted", "reusable", "status")

    def __init__(
        self,
        status: int,
        fields: tuple[Named, ...] = (),
        noted: tuple[Note, ...] = (),
        lines: bytes = b"",
        framing: int = NO_BODY,
        length: int = 0,
    ) -> None:
        self.status = status
        self.fields = fields  # as the pattern finds them, in order
        self.noted = noted  # what may be written down of it
        self.lines = lines
        self.framing = framing
        self.length = length
        self.reusable = True
        self.keep_alive_s = -1
