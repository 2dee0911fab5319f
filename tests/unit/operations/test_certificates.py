"""Which certificates the configuration uses, and when they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import time_machine

from hub import endpoint, registry
from hub.demo.certificates import Authority
from hub.endpoint import Certificate, Mark, OptionsModel
from hub.files.model import parts_of
from hub.operations.certificates import SOON, certificates, findings


class Sender(OptionsModel):
    """Somebody with a CA of its own."""

    ca: endpoint.Authority | None = None


class Options(OptionsModel):
    """Certificates at any depth, and a path that is none."""

    path: Path | None = None
    certificate: Certificate | None = None
    trusted: tuple[endpoint.Authority, ...] = ()
    senders: tuple[Sender, ...] = ()


def example(**options: Any) -> Any:
    """A configuration of one inlet and one destination, as far as certificates go."""
    inlet = SimpleNamespace(name="portal", options=Options(**options["inlet"]))
    destination = SimpleNamespace(key="musterstadt/verfahren", options=Options(**options["destination"]))
    return SimpleNamespace(inlets=(inlet,), all_destinations=lambda: iter([destination]))


def test_certificates_of_inlets_and_destinations_are_found(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, client = tmp_path / "server.pem", tmp_path / "client.pem"
    authority.server(server, tmp_path / "server.key")
    authority.client(client, tmp_path / "client.key", "CN=drehscheibe.example")
    found = certificates(example(
        inlet={"certificate": server, "trusted": (authority.file,),
               "senders": ({"ca": tmp_path / "gone.pem"},)},
        destination={"path": tmp_path, "certificate": client, "trusted": (authority.file,)}))
    assert {file.name: user for file, (user, _) in found.items()} == {
        "server.pem": "inlet portal", "ca.pem": "inlet portal", "gone.pem": "inlet portal",
        "client.pem": "musterstadt/verfahren"}
    days = {file.name: round((end - datetime.now(UTC).timestamp()) / 86400)
            for file, (_, end) in found.items() if end}
    assert days == {"server.pem": 90, "ca.pem": 3650, "client.pem": 90}
    assert found[tmp_path / "gone.pem"][1] == 0


def test_the_first_of_a_chain_counts_and_the_last_of_a_ca_file(tmp_path: Path) -> None:
    with time_machine.travel(datetime.now(UTC) - timedelta(days=60), tick=False):
        old = Authority(tmp_path / "old").file.read_bytes()
    both = tmp_path / "both.pem"
    both.write_bytes(Authority(tmp_path / "new").file.read_bytes() + old)
    (_, first), = certificates(example(inlet={"certificate": both}, destination={})).values()
    (_, last), = certificates(example(inlet={}, destination={"trusted": (both,)})).values()
    assert round((last - first) / 86400) == 60


def test_a_file_that_is_no_certificate_does_not_end_a_scrape(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
    assert certificates(example(inlet={"certificate": broken}, destination={})) == {broken:
                                                                                    ("inlet portal", 0.0)}


def said(tmp_path: Path, days: float, only: set[str] | None = None) -> dict[str, tuple[str, str]]:
    """What the check says so many days before the certificates of inlet and destination end."""
    authority = Authority(tmp_path)
    server, client = tmp_path / "server.pem", tmp_path / "client.pem"
    authority.server(server, tmp_path / "server.key")
    authority.client(client, tmp_path / "client.key", "CN=drehscheibe.example")
    configuration = example(inlet={"certificate": server}, destination={"certificate": client})
    end = min(end for _, end in certificates(configuration).values())
    with time_machine.travel(datetime.fromtimestamp(end - days * 86400, UTC), tick=False):
        return {who: (finding.severity, finding.text) for who, finding in findings(configuration, only)}


@pytest.mark.parametrize(("days", "severity", "words"), [
    (5, "warning", "(in 5 Tagen)"), (29, "warning", "(in 29 Tagen)"), (-1, "error", "abgelaufen")])
def test_check_says_which_certificate_ends(tmp_path: Path, days: float, severity: str, words: str) -> None:
    """Of the server (inlet) and of the client (destination): the alert was the only one to see it."""
    found = said(tmp_path, days)
    assert set(found) == {"inlet portal", "musterstadt/verfahren"}
    for told, text in found.values():
        assert told == severity
        assert words in text
    assert "server.pem" in found["inlet portal"][1]
    assert "client.pem" in found["musterstadt/verfahren"][1]


def test_a_certificate_that_ends_late_is_not_worth_a_word(tmp_path: Path) -> None:
    assert said(tmp_path, 40) == {}


def test_the_check_of_one_destination_says_its_certificate(tmp_path: Path) -> None:
    assert set(said(tmp_path, 5, {"musterstadt/verfahren"})) == {"musterstadt/verfahren"}
    assert said(tmp_path, 5, {"musterstadt/postfach"}) == {}


def test_the_check_warns_when_the_alert_does() -> None:
    rules = (Path(__file__).parents[3] / "etc/prometheus/rules/drehscheibe.yml").read_text()
    assert f"/ 86400 < {SOON}\n" in rules


def test_a_file_that_is_no_certificate_is_said_of_a_destination(tmp_path: Path) -> None:
    gone = tmp_path / "gone.pem"
    [(who, finding)] = findings(example(inlet={"certificate": tmp_path / "nix.pem"},
                                        destination={"certificate": gone}))
    assert (who, finding.severity) == ("musterstadt/verfahren", "error")
    assert str(gone) in finding.text


def unmarked(model: type[OptionsModel]) -> list[str]:
    """Paths in a connector's options that look like certificates, and that the hub would not watch."""
    found = []
    for name, info in model.model_fields.items():
        parts = [*info.metadata, *parts_of(info.annotation)]
        for each in parts:
            if isinstance(each, type) and issubclass(each, OptionsModel):
                found += unmarked(each)
        if (Path in parts and ("certificate" in f"{name} {info.description}" or name.endswith("ca"))
                and not {Mark("certificate"), Mark("authority")} & {each for each in parts
                                                                    if isinstance(each, Mark)}):
            found.append(name)
    return found


def test_every_certificate_of_our_connectors_is_watched() -> None:
    models = [endpoint.options_model(name, side) for name in registry.own()
              for side in get_args(registry.Side)
              if registry.has(name, side)]
    assert len(models) > 6
    assert [name for model in models for name in unmarked(model)] == []


def test_a_certificate_that_nobody_would_watch_is_noticed() -> None:
    class Forgetful(OptionsModel):
        certificate: Path
        ca: Path | None = None
        path: Path

    assert unmarked(Forgetful) == ["certificate", "ca"]
