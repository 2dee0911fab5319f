"""Certificates for tests, as PEM files: authorities, servers and clients."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import trustme


@dataclass(frozen=True)
class KeyPair:
    """A certificate with its chain, and its key."""

    certificate: Path
    key: Path


class Authority:
    """A CA whose files are below `folder`."""

    def __init__(self, folder: Path, name: str = "test-ca") -> None:
        self.folder = folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca = trustme.CA(organization_name=name)
        self.file = self.folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.file)

    def server(self, *names: str, file: str = "server") -> KeyPair:
        """A certificate of a server, for loopback unless other names are given."""
        return self._write(file, self.ca.issue_cert(*(names or ("127.0.0.1", "localhost"))))

    def client(self, common_name: str, *names: str, file: str | None = None,
               **validity: datetime) -> KeyPair:
        """A certificate of a client with this common name. `validity`: not_before, not_after."""
        blob = self.ca.issue_cert(*(names or (f"{common_name}.example",)), common_name=common_name,
                                  **validity)
        return self._write(file or common_name, blob)

    def _write(self, file: str, blob: trustme.LeafCert) -> KeyPair:
        certificate, key = self.folder / f"{file}.pem", self.folder / f"{file}.key"
        blob.private_key_pem.write_to_path(key)
        key.chmod(0o600)
        certificate.write_bytes(b"".join(pem.bytes() for pem in blob.cert_chain_pems))
        return KeyPair(certificate, key)
