"""The notice to the applicant's account is a delivery of its own, and never affects the other deliveries."""

from __future__ import annotations

import json

from tests.acceptance.hub_process import MUSTERSTADT, HubProcess, document_of
from tests.services import wait_until

MUNICIPALITY = f"""
name = "Stadt Musterstadt"
ags = "{MUSTERSTADT}"
tenant = "musterstadt"
[parameters]
behoerde = "Standesamt Musterstadt"
postfach-typ = "BUND"
[destinations.ablage]
connector = "directory"
path = "../var/drop/musterstadt"
[destinations.konto]
connector = "directory"
path = "../var/drop/musterstadt-konto"
layout = "single"
role = "json"
must_contain = ".mounted"
[[route]]
service = "geburtsurkunde"
recipients = [
    {{ destination = "ablage", send = ["pdf", "xml"] }},
    {{ destination = "konto", send = ["mitteilung-json"] }},
]
"""


def test_the_order_arrives_while_the_accounts_are_away_and_the_notice_follows(hub: HubProcess) -> None:
    (hub.folder / "etc/municipalities" / f"{MUSTERSTADT}.toml").write_text(MUNICIPALITY, encoding="utf-8")
    accounts = hub.drop / "musterstadt-konto"
    hub.overrides += ["defaults.policy.retry.first=1s", "deliver.rest=1s"]
    hub.start()
    answer = hub.send(document_of("smallest", "geburtsurkunde"), service="geburtsurkunde")

    def only_the_order_arrived() -> bool:
        rows = {row["recipient"]: row for row in hub.show(answer["id"])["deliveries"]}
        return ({name: row["state"] for name, row in rows.items()} == {"ablage": "done", "konto": "due"}
                and rows["konto"]["attempts"] > 0)

    wait_until(only_the_order_arrived, "the order to arrive and the notice to wait")
    folder, = (hub.drop / "musterstadt").iterdir()
    assert (folder / "geburtsurkunde.xml").is_file()
    (accounts / ".mounted").touch()
    message, = hub.settled([answer["id"]])
    assert message["state"] == "completed"
    file, = accounts.glob("*.json")
    notice = json.loads(file.read_bytes())
    assert notice["vorgang"]["id"] == answer["id"]
    assert notice["postfach"] == {"handle": "bsp-postfach-0001", "type": "BUND"}
    assert notice["senden"] is True
