"""An authority of the tests' own, which signs certificates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


class Authority:
    """Signs certificates, and writes them to files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self.cafile = str(folder / "authority.pem")
        self._ca.cert_pem.write_to_path(self.cafile)

    def issue(self, name: str, identity: str = "localhost", *, expired: bool = False) -> dict[str, str]:
        """A certificate and its key, as keys of `ssl_context`."""
        day = timedelta(days=1)
        end = datetime.now(UTC) + (-day if expired else day)
        issued = self._ca.issue_cert(identity, not_before=end - 2 * day, not_after=end)
        files = {"certfile": str(self._folder / f"{name}.pem"), "keyfile": str(self._folder / f"{name}-key.pem")}
        issued.cert_chain_pems[0].write_to_path(files["certfile"])
        issued.private_key_pem.write_to_path(files["keyfile"])
        return files
