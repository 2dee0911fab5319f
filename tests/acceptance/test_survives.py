"""What the hub survives: SIGKILL, hostile content, endless stylesheets, large bodies, dead receivers."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path

import kombu
import pytest

from tests.acceptance.hub_process import MUSTERSTADT, ROOT, HubProcess, document_of
from tests.services import wait_until
from tests.services.mailsink import MailSink
from tests.services.openssh import OpenSsh
from tests.services.rabbitmq import RabbitMQ, rabbitmq  # noqa: F401 - a fixture

FOLDER_ONLY = """
name = "Stadt Musterstadt"
ags = "14999010"
tenant = "musterstadt"
[destinations.ablage]
connector = "directory"
path = "../var/drop/musterstadt"
layout = "single"
[destinations.test]
connector = "directory"
path = "../var/drop/test"
test = true
[[route]]
service = "hundesteuer"
recipients = [{ destination = "ablage", send = ["xml"] }]
test_recipients = [{ destination = "test", send = ["xml"] }]
"""


def municipality_file(hub: HubProcess) -> Path:
    """The file of Musterstadt."""
    return hub.folder / "etc" / "municipalities" / f"{MUSTERSTADT}.toml"


@pytest.fixture
def hurried(hub: HubProcess) -> Iterator[HubProcess]:
    """A hub that retries at once."""
    hub.overrides += ['defaults.policy.retry.first="1s"', 'deliver.rest="1s"']
    yield hub


def amqp(hub: HubProcess, broker: RabbitMQ, vhost: str) -> None:
    """Give the hub an AMQP inlet and set the broker up by the real command."""
    secrets = hub.folder / "var" / "secrets"
    secrets.mkdir()
    for name in ("hub", "amt24", "admin"):
        (secrets / name).write_text(broker.admin[1] if name == "admin" else f"{name}-test")
    file = hub.folder / "etc" / "hub.toml"
    file.write_text(file.read_text() + f"""
[inlets.amqp]
connector = "amqp"
host = "127.0.0.1"
port = {broker.port}
vhost = "{vhost}"
user = "drehscheibe-test"
password = "file:{secrets}/hub"
senders = [{{ name = "amt24", user = "amt24-test", password = "file:{secrets}/amt24" }}]
""")
    subprocess.run(hub.command("broker", "setup", "--management", broker.api, "--user", broker.admin[0],
                               "--password-file", str(secrets / "admin")), cwd=ROOT, check=True, timeout=60,
                   capture_output=True)


def test_a_thousand_messages_from_rabbitmq_survive_kill_9(
        hub: HubProcess, rabbitmq: RabbitMQ) -> None:  # noqa: F811
    municipality_file(hub).write_text(FOLDER_ONLY)
    rabbitmq.add_vhost("survive")
    amqp(hub, rabbitmq, "survive")
    body = document_of("v2-smallest").read_bytes()
    with rabbitmq.connection("survive", "amt24-test", "amt24-test") as connection:
        producer = kombu.Producer(connection.channel())
        for number in range(1000):
            # only what RabbitMQ confirmed counts as sent
            producer.publish(body, exchange="drehscheibe.in", routing_key="amt24-test",
                             content_type="application/xml",
                             message_id=f"antrag-{number}", delivery_mode=2, content_encoding="utf-8",
                             headers={"municipality": MUSTERSTADT, "service": "hundesteuer"})
    hub.start()
    wait_until(lambda: sum(hub.metric("drehscheibe_messages_accepted_total").values()) >= 300,
               "300 messages accepted", 60)
    hub.kill()
    hub.start()

    def all_delivered() -> bool:
        return sum(hub.metric("drehscheibe_messages").get(f'{{service="hundesteuer",state="{state}"}}', 0)
                   for state in ("completed", "parked")) >= 1000

    wait_until(all_delivered, "1000 messages settled", 120)
    assert rabbitmq.count("survive", "drehscheibe.in.amt24-test") == 0
    states = {name: count for name, count in hub.metric("drehscheibe_messages").items() if count}
    assert states == {'{service="hundesteuer",state="completed"}':
                      1000}, "none lost, none doubled, none parked"
    files = [file for file in (hub.drop / "musterstadt").iterdir() if not file.name.startswith(".")]
    assert len(files) == 1000, "one copy each"
    assert sum(hub.metric("drehscheibe_deliveries").values()) == 1000
    assert hub.stop() == 0


def test_what_was_answered_202_survives_kill_9(hub: HubProcess, sink: MailSink) -> None:
    hub.start()
    answered = [hub.send(document_of("v2-smallest"), idempotency_key=str(number))["id"]
                for number in range(20)]
    hub.kill()
    hub.start()
    messages = hub.settled(answered)
    assert {message["state"] for message in messages} == {"completed"}
    mails: dict[str, list[str]] = {}
    for raw in sink.mails:
        mail = message_from_bytes(raw, policy=policy.default)
        mails.setdefault(mail["Message-ID"], []).append(mail["Subject"])
    assert len(mails) == 20, "each application has its mail"
    for subjects in mails.values():
        unmarked = [subject for subject in subjects if not subject.startswith("möglicherweise doppelt: ")]
        assert len(unmarked) <= 1, "a second copy says that it may be one"


HOSTILE = {
    "doctype":
    (b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><serviceportal>&e;</serviceportal>', "doctype"),
    "bomb": (b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><x>&b;</x>', "doctype"),
    "broken": (b"<serviceportal><offen", "unreadable"),
    "deep": (b"<a>" * 5000 + b"</a>" * 5000, "limit"),
    "empty": (b"", "unreadable"),
    "other": (b"<rechnung/>", "unknown-form"),
    "invalid": (document_of("v2-parked").read_bytes(), "invalid"),
    "unknown version": (document_of("v2-smallest").read_bytes().replace(b":v2.0<", b":v9.0<"), "no-route"),
}


def test_hostile_content_is_stored_and_parked_while_others_go_on(hub: HubProcess, sink: MailSink,
                                                                 tmp_path: Path) -> None:
    hub.start()
    ids = {}
    for name, (content, _) in HOSTILE.items():
        file = tmp_path / "message.xml"
        file.write_bytes(content)
        answer = hub.send(file, idempotency_key=name)
        assert answer["status"] == 202, (name, answer)
        ids[name] = answer["id"]
    good = hub.send(document_of("v2-smallest"))["id"]
    ids["municipality"] = hub.send(document_of("v2-smallest"), ags="14999019")["id"]
    ids["service"] = hub.send(document_of("v2-smallest"), service="hundesteur")["id"]
    assert hub.settled([good])[0]["state"] == "completed"
    expected = {name: reason for name, (_, reason) in HOSTILE.items()} | {
        "municipality": "unknown-municipality", "service": "unknown-service"}
    found = dict(zip(ids, hub.settled(list(ids.values())), strict=True))
    assert {name: (message["state"], message["reason"]) for name, message in found.items()} == {
        name: ("parked", reason) for name, reason in expected.items()}
    assert "root:" not in hub.log.read_text()
    why = hub.cli("why", ids["service"])
    assert "gemeint 'hundesteuer'?" in " ".join(why["lines"])
    assert any("replay" in step for step in why["next"])
    trace = hub.cli("why", ids["unknown version"])["trace"]
    assert len(trace) >= 4
    assert all(line.startswith("Regel musterstadt/hundesteuer/") for line in trace)


def test_an_unknown_service_goes_on_after_a_repair_and_a_replay(hub: HubProcess, sink: MailSink) -> None:
    good = municipality_file(hub).read_text()
    without = re.sub(r'(services = \[\s*)"hundesteuer",', r"\1", good)
    assert without != good
    municipality_file(hub).write_text(without)
    hub.start()
    message = hub.send(document_of("v2-smallest"))["id"]
    assert hub.settled([message])[0]["reason"] == "no-route"
    municipality_file(hub).write_text(good)
    assert hub.cli("reload")["reloaded"]
    assert hub.cli("replay", message)["changed"] == 1
    assert hub.settled([message])[0]["state"] == "completed"
    assert [event["who"] for event in hub.show(message)["events"]
            if event["who"]], "who replayed stands in the history"


def test_an_unknown_municipality_gets_its_messages_once_it_is_added(hub: HubProcess, sink: MailSink) -> None:
    hub.start()
    message = hub.send(document_of("v2-smallest"), ags="14999040")["id"]
    parked = hub.settled([message])[0]
    assert (parked["tenant"], parked["reason"]) == ("unknown", "unknown-municipality")
    new = municipality_file(hub).read_text().replace('"14999010"', '"14999040"').replace('"musterstadt"',
                                                                                 '"neudorf"').replace(
'formerly = ["14999011"]', "")
    (hub.folder / "etc" / "municipalities" / "14999040.toml").write_text(new)
    assert hub.cli("reload")["reloaded"]
    hub.cli("replay", message)
    done = hub.settled([message])[0]
    assert (done["tenant"], done["state"]) == ("neudorf", "completed")
    assert {row["destination"].partition("/")[0] for row in done["deliveries"]} == {"neudorf"}


def test_an_endless_stylesheet_costs_its_own_message_only(hub: HubProcess, sink: MailSink) -> None:
    sheet = hub.folder / "mappings" / "hundesteuer" / "v1" / "fachverfahren.xsl"
    sheet.write_text("""<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
<xsl:variable name="fields" select="/*/*"/>
<xsl:template match="/"><x><xsl:for-each select="//*"><xsl:for-each select="//*"><xsl:for-each select="//*">
<xsl:for-each select="//*"><xsl:for-each select="//*"><xsl:value-of select="count(//*)"/></xsl:for-each>
</xsl:for-each></xsl:for-each></xsl:for-each></xsl:for-each></x></xsl:template></xsl:stylesheet>""")
    hub.overrides += ["workers.seconds=2"]
    hub.start()
    endless = hub.send(document_of("v1-full"))["id"]
    good = [hub.send(document_of("v2-smallest"), idempotency_key=str(number))["id"] for number in range(5)]
    assert {message["state"] for message in hub.settled(good)} == {"completed"}
    message = hub.settled([endless], 90)[0]
    assert (message["state"], message["reason"]) == ("parked", "runaway")
    assert "3-mal allein abgebrochen" in message["reason_text"]
    assert sum(hub.metric("drehscheibe_worker_deaths_total").values()) >= 3


def test_a_large_application_goes_round_the_mailbox(hub: HubProcess, sink: MailSink, tmp_path: Path) -> None:
    attachment = tmp_path / "plan.pdf"
    attachment.write_bytes(b"%PDF-1.4\n" + base64.b64encode(bytes(range(256)) * 90_000))
    assert attachment.stat().st_size > 30_000_000
    hub.start()
    message = hub.settled([hub.send(document_of("v2-smallest"), attachment)["id"]], 90)[0]
    assert message["state"] == "completed"
    assert sorted(row["destination"] for row in message["deliveries"]) == ["musterstadt/ablage",
                                                                           "musterstadt/postfach"]
    [copy] = (hub.drop / "musterstadt").rglob("*plan*.pdf")
    assert copy.read_bytes() == attachment.read_bytes()
    [mail] = sink.mails
    body = message_from_bytes(mail, policy=policy.default).get_body(("plain",))
    assert body is not None
    text = str(body.get_content())
    assert "plan.pdf" in text.splitlines()[0]
    assert copy.parent.name in text, "the clerk is told where it lies"


def test_a_dead_sftp_server_holds_up_nobody_and_gets_everything_when_it_is_back(hurried: HubProcess,
                                                                                openssh: OpenSsh,
                                                                                sink: MailSink) -> None:
    hub = hurried
    municipality_file(hub).write_text(municipality_file(hub).read_text().replace("""[destinations.ablage]
connector = "directory"
path = "../var/drop/musterstadt"
name = "{day}_{service}_{id}"
""", f"""[destinations.ablage]
connector = "sftp"
host = "127.0.0.1"
port = {openssh.port}
user = "{openssh.user}"
key = "file:{openssh.key}"
host_key = ["{openssh.host_key}"]
path = "{openssh.files}"
"""))
    openssh.kill()
    hub.start()
    ids = [hub.send(document_of("v2-smallest"), idempotency_key=str(number))["id"] for number in range(8)]

    def mails_done() -> bool:
        rows = [row for name in ids for row in hub.show(name)["deliveries"] if row["recipient"] == "postfach"]
        return len(rows) == len(ids) and all(row["state"] == "done" for row in rows)

    wait_until(mails_done, "the mails are delivered though the SFTP server is dead", 60)
    wait_until(lambda: any(row["resting_until"] for row in hub.cli("queue")), "the destination rests", 60)
    why = hub.cli("why", ids[0])
    assert "musterstadt/ablage" in " ".join(why["lines"])
    openssh.start()
    assert {message["state"] for message in hub.settled(ids, 90)} == {"completed"}
    assert len([entry for entry in openssh.files.iterdir() if not entry.name.startswith(".")]) == len(ids)


def test_a_second_hub_on_the_same_store_is_refused(hub: HubProcess) -> None:
    hub.start()
    result = subprocess.run(hub.command("--set", "status.port=0", "run"), cwd=ROOT, capture_output=True,
                            timeout=60, check=False)
    assert result.returncode == 75
    assert b"Traceback" not in result.stderr
    assert hub.http("/readyz") == "ok\n"

