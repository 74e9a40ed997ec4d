"""The key `ssl_context`, the same for every provider whose broker speaks TLS."""

from __future__ import annotations

from pathlib import Path
from ssl import SSLContext, create_default_context

from pydantic import field_validator, model_validator

from app.queue.config import Section


class SSLContextConfig(Section):
    """What a TLS connection is checked with. Files are PEM."""

    cafile: Path | None = None
    """The authorities to trust, instead of the system's."""
    certfile: Path | None = None
    keyfile: Path | None = None
    """The service's own certificate, for a broker that asks for one."""
    check_hostname: bool = True
    """False: the broker's certificate may be for another name. It must be valid all the same."""

    @model_validator(mode="after")
    def _usable(self) -> SSLContextConfig:
        if self.keyfile is not None and self.certfile is None:
            raise ValueError("keyfile is given without certfile")
        self.context()
        return self

    @field_validator("cafile", "certfile", "keyfile")
    @classmethod
    def _there(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError("there is no such file")
        return path

    def context(self) -> SSLContext:
        """One that always verifies the broker's certificate. Raises ValueError if a file is no use."""
        try:
            context = create_default_context(cafile=self.cafile)
        except OSError:
            raise ValueError("cafile holds no certificate in PEM that can be read") from None
        if self.certfile is not None:
            try:
                # The empty password is for a key that has one: OpenSSL would ask for it at the terminal, and wait.
                context.load_cert_chain(self.certfile, self.keyfile, password="")
            except OSError:
                raise ValueError(
                    "certfile and keyfile are no certificate and its key in PEM; the key must have no passphrase"
                ) from None
        context.check_hostname = self.check_hostname
        return context
