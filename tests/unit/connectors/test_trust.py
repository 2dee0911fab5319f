"""Who a certificate belongs to, and which files are in force."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ValidationError

from connectors._trust import Sender, Trust, TrustFiles, load
from hub.errors import ConfigError
from tests.services.tls import Authority, KeyPair


@dataclass(frozen=True)
class Named:
    """Options that name files."""

    certificate: Path
    key: str
    client_ca: tuple[Path, ...]
    senders: tuple[Sender, ...]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "other-ca")


@pytest.fixture
def named(tmp_path: Path, ours: Authority) -> Named:
    server = Authority(tmp_path).server()
    senders = (Sender(name="amt24", subject="CN=portal"),)
    return Named(server.certificate, f"file:{server.key}", (ours.file,), senders)


def der(pair: KeyPair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.certificate.read_text().partition("-----END CERTIFICATE-----")[0]
                                    + "-----END CERTIFICATE-----\n")


def two_senders(named: Named, ours: Authority, other: Authority) -> Named:
    return replace(named, client_ca=(), senders=(
        Sender(name="amt24", subject="CN=portal", ca=ours.file),
        Sender(name="town", san="TOWN.example", ca=other.file)))


def test_a_sender_is_known_by_its_mark_and_its_ca(named: Named, ours: Authority, other: Authority) -> None:
    trust = load(two_senders(named, ours, other))
    assert trust.recognise(der(ours.client("portal"))) == "amt24"
    assert trust.recognise(der(other.client("x", "town.example"))) == "town"
    assert trust.recognise(der(other.client("portal"))) is None, "the other CA cannot speak for this sender"
    assert trust.recognise(der(ours.client("y", "town.example"))) is None
    assert trust.recognise(der(ours.client("somebody-else"))) is None
    assert trust.recognise(None) is None


def test_the_check_of_the_issuer_is_what_holds(named: Named, ours: Authority, other: Authority) -> None:
    """Planted fault: without it the other CA's certificate gets in."""
    class Careless(Trust):
        def issued(self, leaf: x509.Certificate, sender: Sender) -> bool:
            return True

    trust = load(two_senders(named, ours, other))
    careless = Careless(trust.context, trust.issuers, trust.senders)
    assert careless.recognise(der(other.client("portal"))) == "amt24"


NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(("begins", "ends", "outdated"), [
    (-2, -1, "expired"), (1, 2, "not-yet-valid"), (-1, 1, None)])
def test_a_certificate_counts_in_its_time_only(named: Named, ours: Authority, begins: int, ends: int,
                                               outdated: str | None) -> None:
    shown = ours.client("portal", not_before=NOW + begins * DAY, not_after=NOW + ends * DAY)
    trust = load(named)
    read = trust.read(der(shown))
    assert (read.sender, read.outdated) == ("amt24", outdated), "its sender is known, valid or not"
    assert read.known == trust.recognise(der(shown)) == ("amt24" if outdated is None else None)
    assert read.ends is not None
    assert abs(read.ends - (NOW + ends * DAY)) < timedelta(seconds=2)


def test_the_check_of_the_time_is_what_holds(named: Named, ours: Authority) -> None:
    """Planted fault: the handshake does not look at the time, so without this an ended one gets in."""
    class Timeless(Trust):
        def outdated(self, leaf: x509.Certificate, now: datetime) -> None:
            return None

    trust = load(named)
    ended = der(ours.client("portal", not_before=NOW - 2 * DAY, not_after=NOW - DAY))
    assert trust.recognise(ended) is None
    assert Timeless(trust.context, trust.issuers, trust.senders).recognise(ended) == "amt24"


def test_nobody_outlives_the_ca_unless_its_successor_vouches(named: Named, tmp_path: Path) -> None:
    key, file = ec.generate_private_key(ec.SECP256R1()), tmp_path / "ca.pem"
    leaf = issued("portal", ec.generate_private_key(ec.SECP256R1()), "ca", key, NOW + 9 * DAY)
    for ends, outdated in (((-1,), "authority-expired"), ((-1, 5), None), ((5,), None)):
        file.write_bytes(b"".join(issued("ca", key, "ca", key, NOW + end * DAY).public_bytes(Encoding.PEM)
                                  for end in ends))
        read = load(replace(named, client_ca=(file,))).read(leaf.public_bytes(Encoding.DER))
        assert (read.sender, read.outdated) == ("amt24", outdated), ends


def test_a_root_that_has_ended_ends_what_is_below_it(named: Named, tmp_path: Path) -> None:
    root, middle, file = (ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1()),
                          tmp_path / "ca.pem")
    leaf = issued("portal", ec.generate_private_key(ec.SECP256R1()), "middle", middle, NOW + 9 * DAY)
    below = issued("middle", middle, "root", root, NOW + 9 * DAY).public_bytes(Encoding.PEM)
    above = issued("root", root, "root", root, NOW - DAY).public_bytes(Encoding.PEM)
    for content, outdated in ((below, None), (below + above, "authority-expired")):
        file.write_bytes(content)
        trust = load(replace(named, client_ca=(file,)))
        assert trust.read(leaf.public_bytes(Encoding.DER)).outdated == outdated


def issued(name: str, key: ec.EllipticCurvePrivateKey, by: str, ca: ec.EllipticCurvePrivateKey,
           ends: datetime) -> x509.Certificate:
    """A certificate for `name`, which may itself issue others."""
    return (x509.CertificateBuilder().serial_number(x509.random_serial_number())
            .subject_name(x509.Name.from_rfc4514_string(f"CN={name}"))
            .issuer_name(x509.Name.from_rfc4514_string(f"CN={by}")).public_key(key.public_key())
            .not_valid_before(NOW - 9 * DAY).not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(ca, hashes.SHA256()))


def test_a_certificate_that_fits_two_senders_is_nobodys(named: Named, ours: Authority) -> None:
    senders = (Sender(name="a", subject="CN=portal"), Sender(name="b", san="portal.example"))
    assert load(replace(named, senders=senders)).recognise(der(ours.client("portal"))) is None
    assert load(replace(named, senders=senders[:1])).recognise(der(ours.client("portal"))) == "a"


def test_nothing_older_than_tls_1_2_is_spoken(named: Named) -> None:
    context = load(named).context
    assert (context.minimum_version, context.verify_mode) == (ssl.TLSVersion.TLSv1_2, ssl.CERT_OPTIONAL)


@pytest.mark.parametrize("faulty", [{}, {"subject": ""}, {"subject": "nonsense"}, {"san": ""}])
def test_a_sender_without_a_mark_is_a_configuration_error(faulty: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Sender(name="x", **faulty)


def test_every_file_that_cannot_be_used_is_named(named: Named, tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("rubbish")
    faulty = replace(named, certificate=tmp_path / "missing.pem", client_ca=(rubbish,))
    with pytest.raises(ConfigError) as raised:
        load(faulty)
    assert [problem.partition(":")[0] for problem in raised.value.problems] == [
        str(tmp_path / "missing.pem"), str(rubbish)]


def test_a_key_that_does_not_fit_is_named_with_its_certificate(named: Named, other: Authority) -> None:
    with pytest.raises(ConfigError, match="cannot be used with its key"):
        load(replace(named, key=f"file:{other.server().key}"))


def test_faulty_new_files_leave_the_old_ones_in_force(named: Named) -> None:
    files = TrustFiles(named, watch_seconds=0.000001)
    before, content = files.trust, named.certificate.read_bytes()
    named.certificate.write_text("rubbish")
    with pytest.raises(ConfigError):
        files.reload()
    files.refresh()
    assert files.trust is before
    assert not files.take_renewal()
    named.certificate.write_bytes(content)
    files.refresh()
    assert not files.take_renewal(), "the same content is nothing new"


def test_new_files_are_told_once(named: Named, ours: Authority, other: Authority, tmp_path: Path) -> None:
    ca = tmp_path / "clients.pem"
    ca.write_bytes(other.file.read_bytes())
    files = TrustFiles(replace(named, client_ca=(ca,)), watch_seconds=0.000001)
    assert files.trust.recognise(der(ours.client("portal"))) is None
    ca.write_bytes(ours.file.read_bytes())
    files.refresh()
    assert (files.take_renewal(), files.take_renewal()) == (True, False)
    assert files.trust.recognise(der(ours.client("portal"))) == "amt24"


def test_the_files_are_not_read_more_often_than_they_should_be(named: Named) -> None:
    files = TrustFiles(named, watch_seconds=3600)
    files.refresh()
    before = files.trust
    named.certificate.unlink()
    files.refresh()
    assert files.trust is before
