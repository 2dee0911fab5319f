"""What a mail that was too large leaves to another delivery."""

from __future__ import annotations

from hub.message import NOTE, Manifest, ManifestPart
from hub.store import slim_manifest


def test_what_the_route_brings_there_is_left_to_it_and_the_rest_stays_in_the_mail_while_it_fits() -> None:
    pdf, plan, text = (ManifestPart(role, name, "x/y", 1, name, name) for role, name in (
        ("pdf", "antrag.pdf"), ("attachment", "plan.pdf"), ("text", "t.txt")))
    mail, folder = Manifest("Hund", parts=(text, pdf, plan)), Manifest("Hund", parts=(plan,))
    once = slim_manifest.slim(mail, slim_manifest.shared(mail, folder), "id-1", "zu groß")
    assert (once.parts, slim_manifest.files_of(once)) == ((text, pdf), ["id-1"])
    twice = slim_manifest.slim(once, slim_manifest.files(once), "id-2", "immer noch")
    assert (twice.parts, slim_manifest.files_of(twice)) == ((text,), ["id-1", "id-2"])
    note = slim_manifest.noted(twice, ["ablage: ordner", None]).properties[NOTE]
    assert "plan.pdf, antrag.pdf" in note
    assert "ablage: ordner" in note
    assert "verworfen" in note
