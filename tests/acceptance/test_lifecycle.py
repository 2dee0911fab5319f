"""The life of a municipality in a running hub.

It joins, its applications are delivered, it is billed, and its applications are deleted in time.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.acceptance.hub_process import ROOT, HubProcess, document_of
from tests.services.mailsink import MailSink
from tests.unit.administration.test_onboarding import AGS_LIST

PRUEFSTADT = "14999040"


def raw(folder: Path) -> bytes:
    """Every byte of the store's files."""
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file()
                    and "snapshots" not in file.parts)


def test_a_fourth_municipality_joins_while_the_hub_runs(hub: HubProcess, sink: MailSink) -> None:
    hub.start()
    document = document_of("v2-smallest")
    early = hub.send(document, ags=PRUEFSTADT)["id"]
    assert [message["state"]
            for message in hub.settled([early])] == ["parked"], "not lost, though nobody knew the town"
    (hub.folder / "ags.xml").write_bytes(AGS_LIST)
    hub.cli("municipality", "install-list", str(hub.folder / "ags.xml"))
    added = hub.cli("municipality", "add", PRUEFSTADT, "--mail", "post@pruefstaedt.example", "--provider",
                    "beispiel-it",
                    "--population", "4200")
    assert "error" not in {line["severity"] for line in hub.cli("check", "--municipality", PRUEFSTADT)}
    assert hub.cli("reload") == {"reloaded": True, "problems": [], "restart": []}
    first = hub.send(document, ags=PRUEFSTADT, idempotency_key="eins")["id"]
    [message] = hub.settled([first])
    assert message["state"] == "completed", message
    assert {row["destination"] for row in message["deliveries"]} == {f"{added['tenant']}/postfach",
                                                                     f"{added['tenant']}/ablage"}
    assert len(list((hub.drop / added["tenant"]).iterdir())) == 1
    assert b"post@pruefstaedt.example" in sink.mails[0]
    hub.cli("replay", early)
    assert [(found["state"], found["tenant"])
            for found in hub.settled([early])] == [("completed", added["tenant"])]
    bill = hub.cli("bill", "--year", str(message["received_at"][:4]))
    [line] = bill["providers"][0]["contracts"][0]["lines"]
    found = (line["service"], line["category"], line["messages"], line["amount"]["printed"])
    assert found == ("hundesteuer", "einfach", 2, "75,00")
    assert {each["kind"] for each in line["destinations"]} == {"mail", "file"}


def test_a_reload_says_what_only_a_restart_takes_up(hub: HubProcess) -> None:
    hub.start()
    file = hub.folder / "etc" / "hub.toml"
    file.write_text(file.read_text().replace("[workers]", "[workers]\nbatch = 3", 1))
    assert hub.cli("reload") == {"reloaded": True, "problems": [], "restart": ["workers"]}
    assert hub.cli("reload")["restart"] == ["workers"], "still"


def test_content_is_deleted_in_the_running_hub(hub: HubProcess, sink: MailSink) -> None:
    municipality = hub.folder / "etc" / "municipalities" / "14999030.toml"
    municipality.write_text(municipality.read_text() + "\n[retention]\npayload_days = "
                                       "0\n[retention.services.feuerwehr-verdienstausfall]\n"
                    "payload_days = 365\n")
    hub.start()
    marker = b"GEHEIM-Erika-4711"
    document = hub.folder / "antrag.xml"
    text = document_of("v2-smallest").read_text()
    document.write_text(text.replace("<vorname>Erika</vorname>", f"<vorname>{marker.decode()}</vorname>"))
    message = hub.send(document, ags="14999030")["id"]
    kept = hub.send(document_of("v2-smallest"))["id"]
    assert {found["state"] for found in hub.settled([message, kept])} == {"completed"}
    state = hub.folder / "var" / "hub"
    assert marker in raw(state)
    assert hub.cli("retention", "run", "--dry-run")["messages"] == 1
    report = hub.cli("retention", "run")
    assert (report["messages"], report["log_truncated"]) == (1, True)
    assert marker not in raw(state)
    shown = hub.cli("show", message)
    assert (shown["state"], shown["events"][-1]["event"]) == ("completed", "payload_deleted")
    assert marker.decode() not in str(shown)
    refused = subprocess.run(hub.command("resend", shown["deliveries"][0]["id"]), cwd=ROOT,
                             capture_output=True, check=False)
    assert refused.returncode == 1
    assert "nach Ablauf der Aufbewahrungsfrist gelöscht" in refused.stderr.decode()
    assert hub.cli("show", kept)["payload_deleted_at"] is None
    assert hub.stop() == 0
    assert marker not in raw(state)
    assert hub.cli("retention", "run") == {**report, "messages": 0, "bodies": 0,
                                           "bytes": 0}, "and without a running hub"
