"""A private certificate authority for the test servers: nothing that it signs is believed anywhere else."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme

from servers import HOST


class Certificates:
    """One authority and one server certificate, as the PEM files that servers and daemon are configured with."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        server = authority.issue_cert(HOST, "localhost", "mail.allsaints.example")
        self.authority = directory / "authority.pem"
        self.certificate = directory / "server.pem"
        self.key = directory / "server.key"
        authority.cert_pem.write_to_path(self.authority)
        for blob in server.cert_chain_pems:
            blob.write_to_path(self.certificate, append=True)
        server.private_key_pem.write_to_path(self.key)

    def client_context(self) -> ssl.SSLContext:
        """Return a verifying TLS context that believes this authority alone."""
        return ssl.create_default_context(cafile=str(self.authority))
