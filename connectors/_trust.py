"""Client certificates: which files are trusted, and which sender a certificate belongs to.

A sender is recognised by the CA that issued its certificate *and* by subject or subject alternative name. The
CA files must hold the issuing CA itself, not only the root above it. A certificate of a CA that is in no file
already fails in the TLS handshake.

Whether a certificate is valid *now* is judged here and not by OpenSSL: in a handshake that fails nobody
learns whose certificate has ended. So its sender gets an answer, and the hub's operators its name.

`TrustFiles` notices changed files. Faulty new files leave the old ones in force.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import ssl
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from pydantic import Field, field_validator, model_validator

from hub.endpoint import Authority, OptionsModel, Outdated, SecretRef, SenderName, secret_path
from hub.errors import ConfigError

NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which `ssl` has no name for."""


class Sender(OptionsModel):
    """How one sender is recognised: by the issuing CA, and by subject or SAN."""

    name: SenderName = Field(min_length=1, description="the sender's name in the hub's configuration")
    subject: str | None = Field(None, description="RFC 4514, like 'CN=amt24,O=Land': attributes it must have")
    san: str | None = Field(None, description="DNS name, URI or mail address among the alternative names")
    ca: Authority | None = Field(
        None, description="PEM file of this sender's issuing CA; default: any of client_ca")

    @field_validator("subject")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        try:
            name = None if value is None else list(x509.Name.from_rfc4514_string(value))
        except ValueError:  # mostly without a word
            raise ValueError(
                f"{value!r} is no name of a certificate's owner: write e.g. 'CN=amt24'") from None
        if name == []:
            raise ValueError("an empty subject would match every certificate: write e.g. 'CN=amt24'")
        return value

    @model_validator(mode="after")
    def _has_a_mark(self) -> Sender:
        if not (self.subject or self.san):
            raise ValueError("a sender needs subject or san: the CA alone does not tell who it is")
        return self


class Named(Protocol):
    """The options that name the files."""

    @property
    def certificate(self) -> Path:
        """PEM file with the server's certificate and its chain."""

    @property
    def key(self) -> SecretRef:
        """PEM file with the server's private key."""

    @property
    def client_ca(self) -> tuple[Path, ...]:
        """PEM files of the CAs that issue certificates of any sender."""

    @property
    def senders(self) -> tuple[Sender, ...]:
        """Who may come in."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a client's certificate says. All is None where there was none."""

    sender: str | None = None
    """The configured sender that has it; None when nobody, or more than one, has its marks."""
    ends: datetime | None = None
    outdated: Outdated | None = None
    """Why it is not valid now."""

    @property
    def known(self) -> str | None:
        """The sender that may come in with it now."""
        return None if self.outdated else self.sender


@dataclass(frozen=True, slots=True)
class Trust:
    """The files as they were read together: one TLS context and who is recognised by it."""

    context: ssl.SSLContext
    issuers: dict[Path | None, tuple[x509.Certificate, ...]]
    senders: tuple[Sender, ...]

    def recognise(self, certificate: bytes | None) -> str | None:
        """The name of the sender that may come in with this certificate (DER), or None."""
        return self.read(certificate).known

    def read(self, certificate: bytes | None, now: datetime | None = None) -> Shown:
        """Whose certificate (DER) it is, and whether it is valid at this moment."""
        if certificate is None:
            return Shown()
        leaf = x509.load_der_x509_certificate(certificate)
        names = {sender.name for sender in self.senders
                 if self.issued(leaf, sender) and _marked(leaf, sender)}
        return Shown(names.pop() if len(names) == 1 else None, leaf.not_valid_after_utc,
                     self.outdated(leaf, now or datetime.now(UTC)))

    def issued(self, leaf: x509.Certificate, sender: Sender) -> bool:
        """Whether a CA of this very sender issued it. The handshake only proved the chain up to *some* CA."""
        return any(_is_issuer(ca, leaf) for ca in self.issuers[sender.ca])

    def outdated(self, leaf: x509.Certificate, now: datetime) -> Outdated | None:
        """Why it is not valid at this moment. The handshake did not ask."""
        if now > leaf.not_valid_after_utc:
            return "expired"
        if now < leaf.not_valid_before_utc:
            return "not-yet-valid"
        return None if self._vouched(leaf, now) else "authority-expired"

    def _vouched(self, certificate: x509.Certificate, now: datetime, depth: int = 8) -> bool:
        """Whether a CA that issued it is valid now, and so on upwards, as far as the files have them.

        A renewed CA may stand beside the old one with the same key: one of them suffices.
        """
        if _is_issuer(certificate, certificate):  # a root; its twin with the same key is none above it
            return True
        cas = [ca for ca in {ca for each in self.issuers.values() for ca in each}
               if _is_issuer(ca, certificate)]
        return not cas or any(ca.not_valid_before_utc <= now <= ca.not_valid_after_utc
                              and (depth == 0 or self._vouched(ca, now, depth - 1)) for ca in cas)


def load(options: Named) -> Trust:
    """Read all files. Raises `ConfigError` with each file that cannot be used."""
    problems: list[str] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL  # required would end in the handshake: nobody reads the 401
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an issuing CA without its root is an anchor, too
    # `Trust.read` looks at the time: here nobody would learn whose it is
    context.verify_flags |= NO_CHECK_TIME
    problems += _own_certificate(context, options)
    issuers: dict[Path | None, tuple[x509.Certificate, ...]] = {}
    for path in {*options.client_ca, *_own_cas(options.senders)}:
        try:
            issuers[path] = tuple(x509.load_pem_x509_certificates(path.read_bytes()))
            context.load_verify_locations(path)
        except (OSError, ValueError) as error:
            problems.append(f"{path}: client_ca: cannot be read ({_why(error)}): "
                            "give a PEM file with the issuing CA")
    if problems:
        raise ConfigError(problems)
    issuers[None] = tuple(ca for path in options.client_ca for ca in issuers[path])
    return Trust(context, issuers, options.senders)


class TrustFiles:
    """What is trusted now. Any thread may ask."""

    def __init__(self, options: Named, watch_seconds: float) -> None:
        self._options = options
        self._watch_seconds = watch_seconds
        self._lock = threading.Lock()
        self._seen: str | None = None
        self._renewed = False
        self._looked = 0.0
        self._trust: Trust | None = None

    @property
    def trust(self) -> Trust:
        """As the files were read last. Raises `ConfigError` when they never could be."""
        if self._trust is None:
            self.reload()
        assert self._trust is not None  # noqa: S101 - reload sets it, or raises
        return self._trust

    def reload(self) -> None:
        """Read the files again. Raises `ConfigError` and keeps the old ones when the new ones are faulty."""
        with self._lock:
            seen = self._fingerprint()
            trust = load(self._options)
            self._renewed = self._seen is not None and seen != self._seen
            self._trust, self._seen = trust, seen

    def refresh(self) -> None:
        """Reload when the files changed. A faulty new set is tried again at the next look."""
        if time.monotonic() - self._looked < self._watch_seconds:
            return
        self._looked = time.monotonic()
        if self._fingerprint() != self._seen:
            with contextlib.suppress(ConfigError):  # half written, perhaps; `check` tells the operator
                self.reload()

    def take_renewal(self) -> bool:
        """Whether the files changed since the last call. Then open connections must end."""
        renewed, self._renewed = self._renewed, False
        return renewed

    def _fingerprint(self) -> str:
        """Changes with each file's content. A missing file counts, too."""
        options = self._options
        files = {options.certificate, secret_path(options.key), *options.client_ca,
                 *_own_cas(options.senders)}
        digest = hashlib.sha256()
        for path in sorted(files):
            try:
                digest.update(path.read_bytes() + b"\0")
            except OSError:
                digest.update(b"missing\0")
        return digest.hexdigest()


def _own_certificate(context: ssl.SSLContext, options: Named) -> list[str]:
    """Load the server's certificate and key; the problems, if any."""
    files = (options.certificate, secret_path(options.key))
    try:
        context.load_cert_chain(*files, password=_no_password)
    except (OSError, ValueError) as error:
        unreadable = [path for path in files if not os.access(path, os.R_OK)]
        if unreadable:
            return [f"{path}: cannot be read ({_why(error)}): create it, readable for the hub's user"
                    for path in unreadable]
        return [f"{options.certificate}: certificate: cannot be used with its key, {options.key} "
                f"({_why(error)}): give a PEM chain and the unencrypted PEM key that fits it"]
    return []


def _own_cas(senders: Sequence[Sender]) -> Iterable[Path]:
    return (sender.ca for sender in senders if sender.ca)


def _is_issuer(ca: x509.Certificate, leaf: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _marked(leaf: x509.Certificate, sender: Sender) -> bool:
    if sender.subject is not None:
        wanted = x509.Name.from_rfc4514_string(sender.subject)
        if not set(wanted) <= set(leaf.subject):
            return False
    return sender.san is None or sender.san.lower() in _alternative_names(leaf)


def _alternative_names(leaf: x509.Certificate) -> set[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return set()
    kinds = (x509.DNSName, x509.UniformResourceIdentifier, x509.RFC822Name)
    return {name.value.lower() for name in names if isinstance(name, kinds)}


def _no_password() -> str:
    raise ValueError("the key is encrypted")  # without this OpenSSL would ask on the terminal


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or getattr(error, "reason", None) or type(error).__name__
