"""The main job by the real command: an application by HTTPS reaches mailbox, folder and SFTP server."""

from __future__ import annotations

import hashlib
import subprocess
import time
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from hub.demo.results import examples
from tests.acceptance.conftest import PostOffice
from tests.acceptance.hub_process import MUSTERSTADT, PROBEDORF, ROOT, HubProcess, document_of
from tests.services import wait_until
from tests.services.mailsink import MailSink
from tests.services.openssh import OpenSsh
from tests.services.tls import Authority

EXAMPLES = examples(ROOT / "mappings")


def municipality(outlets: str) -> str:
    """The file of a municipality whose applications all go to each of the three outlets."""
    return f"""
name = "Stadt Musterstadt"
ags = "{MUSTERSTADT}"
tenant = "musterstadt"
[destinations.test]
connector = "directory"
path = "../var/drop/test"
test = true
{outlets}
""" + "".join(f"""
[[route]]
service = "{service}"
recipients = [
    {{ destination = "postfach", send = ["mail-text", "mail-html", "pdf", "xml", "attachments"] }},
    {{ destination = "ablage", send = ["pdf", "xml", "attachments"] }},
    {{ destination = "sftp", send = ["pdf", "xml", "attachments"] }},
]
test_recipients = [{{ destination = "test", send = ["xml"] }}]
""" for service in sorted({example.service for example in EXAMPLES}))


def test_every_example_arrives_at_every_outlet_as_one_copy(hub: HubProcess, openssh: OpenSsh,
                                                           postfix: PostOffice) -> None:
    assert len(EXAMPLES) >= 9
    outlets = f"""
[destinations.postfach]
connector = "smtp"
host = "localhost"
port = {postfix.server.port}
ca_file = "{postfix.ca}"
to = ["buergerservice@musterstadt.example"]
[destinations.ablage]
connector = "directory"
path = "../var/drop/musterstadt"
[destinations.sftp]
connector = "sftp"
host = "127.0.0.1"
port = {openssh.port}
user = "{openssh.user}"
key = "file:{openssh.key}"
host_key = ["{openssh.host_key}"]
path = "{openssh.files}"
"""
    (hub.folder / "etc" / "municipalities" / f"{MUSTERSTADT}.toml").write_text(municipality(outlets))
    hub.start()
    sent = {}
    for example in EXAMPLES:
        answer = hub.send(example.document, *example.uploads, service=example.service,
                          printout=example.printout)
        assert answer["status"] == 202, answer
        sent[example] = answer["id"]
    found = dict(zip(sent, hub.settled(list(sent.values()), 120), strict=True))
    delivered = 0
    for example, message in found.items():
        if example.parked:
            assert (message["state"], message["reason"]) == ("parked", example.parked), example
            continue
        assert message["state"] == "completed", (example, message)
        assert {row["recipient"] for row in message["deliveries"]} == {"postfach", "ablage", "sftp"}
        delivered += 1
        rows = {row["recipient"]: row for row in message["deliveries"]}
        folder = hub.drop / "musterstadt" / rows["ablage"]["receipt"]["reference"]
        remote = Path(openssh.files) / Path(rows["sftp"]["receipt"]["reference"]).name
        files = {file.name: file.read_bytes() for file in folder.iterdir()}
        assert any(name.endswith(".xml") for name in files)
        assert any(content.startswith(b"%PDF") for content in files.values())
        assert {file.name: file.read_bytes() for file in remote.iterdir()} == files
        mails = [mail for mail in postfix.mails() if rows["postfach"]["id"] in mail["Message-ID"]]
        assert len(mails) == 1
        attached = {hashlib.sha256(part.get_payload(decode=True)).hexdigest()
                    for part in mails[0].iter_attachments()}
        assert {hashlib.sha256(content).hexdigest() for content in files.values()} <= attached
        assert mails[0].get_body(("plain",)) is not None
        assert mails[0].get_body(("html",)) is not None
    assert delivered >= 9
    assert len(list((hub.drop / "musterstadt").iterdir())) == delivered == len(postfix.mails())
    status = hub.cli("check")
    assert not [line for line in status if line["severity"] == "error"]
    assert hub.stop() == 0


def test_the_example_configuration_takes_all_inlets(hub: HubProcess, sink: MailSink) -> None:
    hub.start()
    document = document_of("v2-smallest")
    place = hub.folder / "var" / "inbox" / PROBEDORF / "hundesteuer"
    place.mkdir(parents=True)
    temporary = place / ".antrag.part"
    temporary.write_bytes(document.read_bytes())
    temporary.rename(place / "antrag.xml")
    by_https = hub.send(document, idempotency_key="eins")
    wait_until(lambda: len(hub.cli("messages")) == 2, "both arrive", 60)
    messages = hub.settled([message["id"] for message in hub.cli("messages")])
    assert {message["inlet"] for message in messages} == {"portal", "ordner"}
    assert {message["state"] for message in messages} == {"completed"}
    assert not (place / "antrag.xml").exists()
    assert {mail["To"]
            for mail in (message_from_bytes(raw, policy=policy.default) for raw in sink.mails)} == {
"buergerservice@musterstadt.example", "gemeinde@probedorf.example"}
    again = hub.send(document, idempotency_key="eins")
    assert again == {**by_https, "duplicate": True}
    other = document_of("v2-full")
    conflict = hub.send(other, idempotency_key="eins")
    assert conflict["status"] == 409
    assert hub.show(by_https["id"])["state"] == "completed"


def test_a_test_message_goes_to_the_test_destination_only(hub: HubProcess, sink: MailSink) -> None:
    hub.start()
    document = document_of("v2-smallest")
    message = hub.settled([hub.send(document, test=True)["id"]])[0]
    assert message["state"] == "completed"
    assert [row["destination"] for row in message["deliveries"]] == ["musterstadt/test"]
    assert not sink.mails
    assert not list((hub.drop / "musterstadt").iterdir())


def test_who_may_not_is_refused_and_who_may_is_never_refused_for_content(hub: HubProcess,
                                                                         tmp_path: Path) -> None:
    configuration = hub.folder / "etc" / "hub.toml"
    configuration.write_text(configuration.read_text().replace('["*"]', f'["{MUSTERSTADT}"]', 1))
    hub.start()
    document = document_of("v2-smallest")
    stranger = Authority(tmp_path, "stranger").client("amt24.example")
    unknown = hub.authority.client("somebody.example")
    assert hub.send(document, client=unknown)["status"] == 401
    with pytest.raises(Exception, match="is not taken by"):
        hub.send(document, client=stranger)
    assert hub.send(document, ags=PROBEDORF)["status"] == 403
    bad = tmp_path / "bad.xml"
    bad.write_bytes(b"<serviceportal><broken")
    assert hub.send(bad)["status"] == 202
    assert hub.send(document, service="hundesteur")["status"] == 202
    assert len(hub.cli("messages")) == 2, "nothing of the refused was stored"


def test_the_hub_tells_how_it_is(hub: HubProcess, sink: MailSink) -> None:
    hub.start()
    document = document_of("v2-smallest")
    parked = document_of("v2-parked")
    hub.settled([hub.send(document)["id"], hub.send(parked)["id"]])
    assert hub.http("/healthz") == hub.http("/readyz") == "ok\n"
    assert hub.metric("drehscheibe_messages_accepted_total")['{service="hundesteuer"}'] == 2
    states = hub.metric("drehscheibe_messages")
    assert sum(states.values()) == 2
    created = hub.metric("drehscheibe_deliveries_created_total")
    assert sum(hub.metric("drehscheibe_deliveries").values()) == sum(created.values()) == 2
    assert hub.metric("drehscheibe_disk_free_bytes")['{place="state"}'] > 0
    ends = hub.metric("drehscheibe_certificate_expiry_timestamp_seconds")
    assert ends[f'{{file="{hub.tls / "server.pem"}",used_by="inlet portal"}}'] > time.time()
    assert hub.stop() == 0
    # the totals come from the store, so a restart keeps them
    hub.start()
    assert hub.metric("drehscheibe_messages") == states
    status = hub.cli("queue")
    assert all(row["due"] == row["in_doubt"] == 0 for row in status)


def test_logs_and_metrics_hold_no_personal_data(hub: HubProcess, sink: MailSink) -> None:
    hub.start()
    dogs = [example for example in EXAMPLES if example.service == "hundesteuer"]
    ids = [hub.send(example.document, *example.uploads, printout=example.printout)["id"] for example in dogs]
    hub.settled(ids)
    words = ("Mustermann", "Erika", "Musterstraße", "DE02120300000000202051", "DE02 1203", "@example.org",
             "1990-01-31")
    seen = hub.log.read_text() + hub.http("/metrics")
    sent = "".join(example.document.read_text() for example in dogs)
    assert [word for word in words if word not in sent] == [], "the examples hold what must not be seen"
    assert [word for word in words if word in seen] == []


def test_a_faulty_reload_changes_nothing_and_a_good_one_does(hub: HubProcess, sink: MailSink) -> None:
    hub.start()
    file = hub.folder / "etc" / "municipalities" / f"{MUSTERSTADT}.toml"
    good = file.read_text()
    file.write_text(good.replace('connector = "smtp"', 'connector = "smpt"', 1))
    result = hub.cli("reload", code=78)
    assert "did you mean 'smtp'" in str(result["problems"])
    document = document_of("v2-smallest")
    assert hub.settled([hub.send(document)["id"]])[0]["state"] == "completed"
    file.write_text(good.replace("buergerservice@musterstadt", "neu@musterstadt"))
    assert hub.cli("reload") == {"reloaded": True, "problems": [], "restart": []}
    assert hub.settled([hub.send(document, idempotency_key="zwei")["id"]])[0]["state"] == "completed"
    receivers = [envelope[1] for envelope in sink.envelopes]
    assert receivers == [("buergerservice@musterstadt.example",), ("neu@musterstadt.example",)]
    assert hub.metric("drehscheibe_reloads_total") == {'{outcome="ok"}': 1, '{outcome="refused"}': 1}


def test_a_wrong_configuration_ends_with_78_and_says_where(hub: HubProcess) -> None:
    hub.overrides.append("deliver.thraeds=4")
    result = subprocess.run(hub.command("run"), cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert result.returncode == 78
    assert "deliver.thraeds: unknown key: did you mean 'threads'?" in result.stderr.decode()
