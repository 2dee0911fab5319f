"""The PDF of an application, through the real command and real workers.

It is the applicant's PDF if there is one, else the hub prints one.
"""

from __future__ import annotations

import shutil

import pytest

from hub.authoring.examples import count_pages
from tests.acceptance.hub_process import MUSTERSTADT, HubProcess, document_of
from tests.services import need_pango

MUNICIPALITY = f"""
name = "Stadt Musterstadt"
ags = "{MUSTERSTADT}"
tenant = "musterstadt"
[destinations.ablage]
connector = "directory"
path = "../var/drop/musterstadt"
[destinations.test]
connector = "directory"
path = "../var/drop/test"
test = true
[[route]]
service = "hundesteuer"
recipients = [{{ destination = "ablage", send = ["pdf", "xml"] }}]
test_recipients = [{{ destination = "test", send = ["pdf", "xml"] }}]
"""


@pytest.fixture
def municipality(hub: HubProcess) -> HubProcess:
    """A running hub whose municipality takes everything into one folder."""
    (hub.folder / "etc/municipalities" / f"{MUSTERSTADT}.toml").write_text(MUNICIPALITY, encoding="utf-8")
    hub.start()
    return hub


def filed(hub: HubProcess, printout: str | None = None) -> bytes:
    """Hand in the smallest dog tax application, with the applicant's own printout or without. Returns the PDF
    that arrived in the folder."""
    document = document_of("v1-smallest")
    answer = hub.send(document, printout=document.parent / printout if printout else None)
    message, = hub.settled([answer["id"]])
    assert message["state"] == "completed", message
    folder, = (hub.drop / "musterstadt").iterdir()
    content = (folder / "antrag.pdf").read_bytes()
    shutil.rmtree(folder)
    return content


def test_an_application_without_a_pdf_is_printed_and_one_with_it_is_left_alone(
    municipality: HubProcess) -> None:
    need_pango()
    applicants = (document_of("v1-smallest").parent / "antrag.pdf").read_bytes()
    assert filed(municipality, "antrag.pdf") == applicants
    printed = filed(municipality)
    assert printed.startswith(b"%PDF-") and count_pages(printed) >= 1
    assert printed != applicants and len(printed) > 4 * len(applicants)
