"""Certificates for a node that speaks TLS, made by an authority of its own, and for those who connect to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

HOST = "127.0.0.1"


class TlsFiles:
    """The files of one node, and the authority that signs them. Nothing is written before :meth:`write`."""

    def __init__(self) -> None:
        self.authority = trustme.CA()
        self._folder: Path | None = None

    @property
    def cafile(self) -> Path:
        """What clients have to trust."""
        return self.folder / "authority.pem"

    @property
    def folder(self) -> Path:
        assert self._folder is not None, "the node has not been started"
        return self._folder

    def write(self, folder: Path) -> None:
        """Write the authority's certificate, and a good one of the server."""
        folder.mkdir()
        self._folder = folder
        self.authority.cert_pem.write_to_path(str(self.cafile))
        self.serve(self.good())

    def good(self) -> trustme.LeafCert:
        return self.authority.issue_cert(HOST, "localhost")

    def expired(self) -> trustme.LeafCert:
        return self.authority.issue_cert(HOST, not_after=datetime.now(UTC) - timedelta(days=1))

    def for_another_host(self) -> trustme.LeafCert:
        return self.authority.issue_cert("rabbit.example.com")

    def from_a_stranger(self) -> trustme.LeafCert:
        """A good one, signed by an authority that nobody has heard of."""
        return trustme.CA().issue_cert(HOST)

    def serve(self, certificate: trustme.LeafCert) -> None:
        """Have the server show this one. A node that runs reads it when it is told to forget the one before."""
        pem, *chain = certificate.cert_chain_pems
        pem.write_to_path(str(self.folder / "server.pem"))
        for further in chain:
            further.write_to_path(str(self.folder / "server.pem"), append=True)
        certificate.private_key_pem.write_to_path(str(self.folder / "server.key"))

    def client(self, user: str, authority: trustme.CA | None = None) -> str:
        """Write a client's certificate for ``user`` and its key, and return what names them in a URL."""
        signer = authority or self.authority
        certificate = signer.issue_cert(f"{user}@example.com", common_name=user)
        certfile, keyfile = self.folder / f"{user}.pem", self.folder / f"{user}.key"
        certificate.cert_chain_pems[0].write_to_path(str(certfile))
        certificate.private_key_pem.write_to_path(str(keyfile))
        return f"certfile={certfile}&keyfile={keyfile}"
