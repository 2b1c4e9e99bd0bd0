"""Certificates of a suite, seen to fit before anything starts that would only not be reached."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc

from chassis.supervise.errors import SuiteError

VARIABLES = ("LOYALTY_TLS_CERTIFICATE_PATH", "LOYALTY_TLS_KEY_PATH", "LOYALTY_TLS_CA_PATH")
_ROUNDS_MAX = 10


@dataclass(frozen=True)
class Certificates:
    """Files of mutual TLS, with which the services of a suite serve and call each other (PEM)."""

    chain: Path
    key: Path
    authority: Path

    def credentials(self) -> grpc.ChannelCredentials:
        """What a caller on this machine shows and trusts."""
        return grpc.ssl_channel_credentials(
            root_certificates=self.authority.read_bytes(),
            private_key=self.key.read_bytes(),
            certificate_chain=self.chain.read_bytes(),
        )


def read_certificates(environment: Mapping[str, str], host: str) -> Certificates | None:
    """The certificates that an environment names; None where it names none.

    Raises SuiteError where services that serve with them could not call each other at `host`.
    """
    paths = [environment.get(variable) for variable in VARIABLES]
    if not any(paths):
        return None
    if not all(paths):
        raise SuiteError(f"{', '.join(VARIABLES)} come together")
    certificates = Certificates(*(Path(path or "") for path in paths))
    for variable, path in zip(VARIABLES, paths, strict=True):
        try:
            Path(path or "").read_bytes()
        except OSError as error:
            raise SuiteError(f"{variable}: {path} cannot be read: {error.strerror}") from None
    try:
        _shake_hands(certificates, host)
    except ssl.SSLError as error:
        said = getattr(error, "verify_message", None) or error.reason or str(error)
        raise SuiteError(
            f"with {', '.join(VARIABLES)} the services cannot call each other at {host}: {said}"
        ) from None
    return certificates


def _shake_hands(certificates: Certificates, host: str) -> None:
    """One handshake in memory, as between two of the services."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for side in (server, client):
        side.load_cert_chain(certificates.chain, certificates.key)
        side.load_verify_locations(certificates.authority)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(back, there, server_hostname=host),
        server.wrap_bio(there, back, server_side=True),
    ]
    for _ in range(_ROUNDS_MAX):
        for end in tuple(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
        if not ends:
            return
