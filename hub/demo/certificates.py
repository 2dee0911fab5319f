"""A small authority for trying out: one CA in a folder, and certificates that it issues for this machine and
its clients.

Made on the spot, kept between runs, and made anew when they are about to expire or do not belong to the CA
any more. Never for production: the CA's key lies beside it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

RENEW_BEFORE = timedelta(days=7)
LIFETIME = timedelta(days=90)
AUTHORITY_LIFETIME = timedelta(days=3650)
NAME = x509.Name.from_rfc4514_string("CN=Datendrehscheibe Test-CA,O=Datendrehscheibe (nur zum Ausprobieren)")


class Authority:
    """The CA in `folder` (``ca.pem``, ``ca.key``), made when there is none."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "ca.pem"
        key_file = folder / "ca.key"
        if not _good(self.file, key_file, None):
            self._create(key_file)
        self.certificate = x509.load_pem_x509_certificate(self.file.read_bytes())
        self._key = _load_key(key_file)

    def _create(self, key_file: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(NAME, key, NAME, AUTHORITY_LIFETIME)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(sign_certificates=True), critical=True)
        write_private(key_file, _pem(key))
        write(self.file, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def server(self, certificate: Path, key: Path,
               names: Sequence[str] = ("localhost", "127.0.0.1", "::1")) -> None:
        """A server's certificate for host names and addresses, where the files are missing or not good any
        more."""
        self._issue(certificate, key, x509.Name.from_rfc4514_string(f"CN={names[0]}"), names,
                    ExtendedKeyUsageOID.SERVER_AUTH)

    def client(self, certificate: Path, key: Path, subject: str | None, san: str | None = None) -> None:
        """A client's certificate for an RFC 4514 subject, a DNS name, or both."""
        name = x509.Name.from_rfc4514_string(subject or f"CN={san}")
        self._issue(certificate, key, name, [san] if san else [], ExtendedKeyUsageOID.CLIENT_AUTH)

    def _issue(self, certificate: Path, key_file: Path, subject: x509.Name, names: Sequence[str],
               purpose: x509.ObjectIdentifier) -> None:
        if _good(certificate, key_file, self.certificate, subject):
            return
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, key, self.certificate.subject, LIFETIME)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(sign_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]),
                                            critical=False)
        write_private(key_file, _pem(key))
        write(certificate, builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def write(file: Path, content: bytes) -> None:
    """Replace a file as a whole; its folder is made."""
    _replace(file, content, 0o644)


def write_private(file: Path, content: bytes) -> None:
    """The same for a secret: mode 0600 from its first moment."""
    _replace(file, content, 0o600)


def _replace(file: Path, content: bytes, mode: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
        out.write(content)
    temporary.rename(file)


def _builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey, issuer: x509.Name,
             lifetime: timedelta) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1)).not_valid_after(now + lifetime)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False))


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(digital_signature=not sign_certificates, key_cert_sign=sign_certificates,
                         crl_sign=sign_certificates,
                         content_commitment=False, key_encipherment=False, data_encipherment=False,
                         key_agreement=False,
                         encipher_only=False, decipher_only=False)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def _load_key(file: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(file.read_bytes(), None)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key
    raise ValueError(f"{file} is no key of this authority")


def _good(certificate: Path, key: Path, issuer: x509.Certificate | None,
          subject: x509.Name | None = None) -> bool:
    """Whether the pair is there, belongs together and to the issuer, and lasts for a while."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        if _load_key(key).public_key() != found.public_key() or (subject is not None
                                                                 and found.subject != subject):
            return False
        if issuer is not None:
            found.verify_directly_issued_by(issuer)
    except (OSError, ValueError, TypeError, InvalidSignature):
        return False
    return found.not_valid_after_utc - datetime.now(UTC) > RENEW_BEFORE
