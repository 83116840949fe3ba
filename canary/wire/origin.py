"""Where an upstream is: a value with msgspec's base, which the compiled build cannot take in."""

import msgspec


class Origin(msgspec.Struct, frozen=True):
    """Where an upstream is, and how its certificate is checked."""

    host: str
    port: int
    tls: bool = False
    ca_file: str = ""
    verify: bool = True

    @property
    def authority(self) -> str:
        """As in a Host field."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"
