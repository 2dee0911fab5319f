"""A fourth municipality joins a running hub, by the commands that an operator types.

The test ends with its first delivered application.
"""

from __future__ import annotations

import sys
import time

import pytest

from tests.acceptance.hub_process import HubProcess, document_of
from tests.services.mailsink import MailSink
from tests.unit.administration.test_onboarding import AGS_LIST

FOURTH = "14999040"


def test_from_nothing_to_the_first_delivered_application(hub: HubProcess, sink: MailSink,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    hub.start()
    (hub.folder / "ags.xml").write_bytes(AGS_LIST)
    begin = time.monotonic()
    steps = []

    def done(step: str) -> None:
        steps.append(f"{step} {time.monotonic() - begin:.1f} s")

    hub.cli("municipality", "install-list", str(hub.folder / "ags.xml"))
    done("list installed")
    added = hub.cli("municipality", "add", FOURTH, "--mail", "post@pruefstaedt.example", "--population",
                    "4200")
    done("added")
    tried = hub.cli("check", "--connect", "--municipality", FOURTH)
    assert "error" not in {finding["severity"] for finding in tried}
    done("every destination tried")
    assert hub.cli("reload")["problems"] == []
    done("taken up")
    message = hub.settled([hub.send(document_of("v2-smallest"), ags=FOURTH)["id"]])[0]
    done("first application delivered")
    with capsys.disabled():  # so that standard error is seen where tests run in parallel too
        print(f"\nA fourth municipality, by its AGS alone: {', '.join(steps)}.", file=sys.stderr)
    assert message["state"] == "completed"
    assert {delivery["destination"] for delivery in message["deliveries"]} == {
        f"{added['tenant']}/postfach", f"{added['tenant']}/ablage"}
    assert [recipients for _, recipients in sink.envelopes][-1:] == [("post@pruefstaedt.example",)]
    assert len(list((hub.drop / added["tenant"]).iterdir())) == 1
