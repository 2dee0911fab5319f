"""What every drop promises where the target is against it: links, a disk that takes nothing more, names.

Part of `drop_contract.DropContract`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from connectors import _layout
from connectors._layout import Plan
from hub.endpoint import Absent, Done, OutletBase
from hub.errors import Misconfigured, Permanent, Temporary
from tests.integration.contract import APPLICATION, Effect, make_delivery
from tests.integration.drop_folder import NAME, DropFolder

BIG = ("attachment", "foto.jpg", "image/jpeg", b"bild" * 250_000)


def elsewhere(receiver: DropFolder) -> Path:
    """Another recipient's folder beside the target, into which the server may write."""
    folder = receiver.root.with_name("fremd")
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    return folder


def a_link_is_refused(outlet: OutletBase[Any], path: str, attempt: int = 1) -> None:
    """Whether delivering or asking: nothing begins."""
    effect, delivery = Effect(), make_delivery(attempt=attempt, manifest={"path": path})
    with pytest.raises(Misconfigured, match="Verknüpfung"):
        outlet.deliver(delivery, effect)
    outlet.close()
    assert effect.begun == 0, "the effect began behind a link"


class LimitsContract:
    """Links, disks and names."""

    links_are_seen: ClassVar[bool] = True
    """Whether the protocol shows links. WebDAV does not know any."""
    read_only: ClassVar[str] = "nur lesbar"
    """What the operator reads where the target is mounted read-only."""

    # -- links ------------------------------------------------------------------------------------------

    @pytest.fixture
    def fremd(self, receiver: Any) -> Path:
        if not self.links_are_seen:
            pytest.skip("this protocol has no links")
        return elsewhere(receiver)

    @pytest.mark.parametrize("layout", ["folder", "single"])
    @pytest.mark.parametrize("link", ["Aemter", "Aemter/Steuern"])
    def test_a_link_on_the_way_is_refused(self, receiver: Any, fremd: Path, link: str, layout: str) -> None:
        """It sent one municipality's application into another's folder."""
        (fremd / "Steuern").mkdir(mode=0o777)
        (fremd / "Steuern").chmod(0o777)
        if "/" in link:
            receiver.put("Aemter")
        (receiver.root / link).symlink_to(fremd if "/" not in link else fremd / "Steuern")
        outlet = receiver.outlet(layout=layout)
        a_link_is_refused(outlet, "Aemter/Steuern")
        with pytest.raises(Misconfigured, match="Verknüpfung"):
            outlet.probe(make_delivery(manifest={"path": "Aemter/Steuern"}))
        assert [path.name for path in fremd.rglob("*")] == ["Steuern"], "something was written behind a link"
        (receiver.root / link).unlink()
        outlet.deliver(make_delivery(manifest={"path": "Aemter/Steuern"}), Effect())
        outlet.close()
        assert [path.name for path in fremd.rglob("*")] == ["Steuern"]

    @pytest.mark.parametrize("layout", ["folder", "single"])
    def test_a_link_with_the_final_name_is_refused(self, receiver: Any, fremd: Path, layout: str) -> None:
        """Also where it leads to the very same content: that would be another recipient's."""
        outlet = receiver.outlet(layout=layout)
        name = outlet.deliver(make_delivery(), Effect()).reference
        (receiver.root / name).rename(fremd / name)
        (receiver.root / name).symlink_to(fremd / name)
        a_link_is_refused(outlet, "")
        with pytest.raises(Misconfigured, match="Verknüpfung"):
            outlet.probe(make_delivery())
        outlet.close()

    @pytest.mark.parametrize("layout", ["folder", "single"])
    def test_a_link_with_a_hidden_name_leads_nowhere(self, receiver: Any, fremd: Path, layout: str) -> None:
        plan = Plan("", NAME if layout == "folder" else f"{NAME}.xml", layout == "folder", ())
        other = fremd / "antrag.xml"
        other.write_bytes(b"fremd")
        (receiver.root / plan.hidden()).symlink_to(fremd if layout == "folder" else other)
        outlet = receiver.outlet(layout=layout)
        a_link_is_refused(outlet, "", attempt=2)
        assert other.read_bytes() == b"fremd"
        assert [path.name for path in fremd.iterdir()] == ["antrag.xml"]

    def test_a_link_that_comes_while_a_try_is_at_work_changes_nothing_behind_it(
            self, receiver: Any, fremd: Path) -> None:
        """Between the last look and the rename: the folder goes away and a link stands in its place."""
        def swap() -> None:
            (receiver.root / "Steuern").rename(receiver.root / "weg")
            (receiver.root / "Steuern").symlink_to(fremd)

        outlet, delivery = receiver.outlet(), make_delivery(manifest={"path": "Steuern"})
        effect = Effect(swap)
        with pytest.raises(Misconfigured, match="Verknüpfung"):
            outlet.deliver(delivery, effect)
        outlet.close()
        assert effect.begun == 1
        assert list(fremd.iterdir()) == []

    def test_a_marker_that_is_a_link_proves_nothing(self, receiver: Any, fremd: Path) -> None:
        (fremd / "x").touch()
        (receiver.root / ".drehscheibe").symlink_to(fremd / "x")
        a_link_is_refused(receiver.outlet(must_contain=".drehscheibe"), "")

    def test_the_target_itself_may_be_a_link(self, receiver: Any, fremd: Path) -> None:
        receiver.put("echt")
        (receiver.root / "ziel").symlink_to("echt")
        outlet = receiver.outlet(**receiver.below("ziel"))
        delivery = make_delivery(manifest={"path": "Steuern"})
        receipt = outlet.deliver(delivery, Effect())
        assert outlet.probe(delivery) == Done(receipt)
        outlet.close()
        assert (receiver.root / "echt" / receipt.reference).is_dir()

    # -- disks ------------------------------------------------------------------------------------------

    def test_a_full_disk_is_temporary_and_leaves_nothing(self, receiver: Any) -> None:
        with receiver.disk("size=256k") as change:
            delivery, effect, outlet = make_delivery([*APPLICATION, BIG]), Effect(), receiver.outlet()
            with pytest.raises(Temporary, match="voll"):
                outlet.deliver(delivery, effect)
            assert effect.begun == 0
            assert receiver.names() == [], "something half stays"
            change("size=8m")
            outlet.deliver(delivery, effect)
            outlet.close()
            assert len(receiver.arrivals()) == 1

    def test_a_disk_without_room_for_names(self, receiver: Any) -> None:
        with receiver.disk("size=8m,nr_inodes=4") as change:
            effect, outlet = Effect(), receiver.outlet()
            with pytest.raises(Temporary, match="voll"):
                outlet.deliver(make_delivery(), effect)
            assert effect.begun == 0
            assert receiver.names() == []
            change("nr_inodes=100")
            outlet.deliver(make_delivery(), effect)
            outlet.close()
            assert len(receiver.arrivals()) == 1

    def test_a_read_only_disk_is_for_the_operator(self, receiver: Any) -> None:
        with receiver.disk("size=8m") as change:
            change("ro")
            effect, outlet = Effect(), receiver.outlet()
            with pytest.raises(Misconfigured, match=self.read_only):
                outlet.deliver(make_delivery(), effect)
            assert effect.begun == 0
            error, *_ = outlet.check()
            assert (error.severity, bool(error.remedy)) == ("error", True)
            assert receiver.names() == []
            change("rw")
            outlet.deliver(make_delivery(), effect)
            outlet.close()
            assert len(receiver.arrivals()) == 1

    # -- names ------------------------------------------------------------------------------------------

    def test_a_final_name_that_the_target_does_not_take_is_permanent(
            self, receiver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Encrypted file systems take 143 bytes where others take 255; here it is longer than either."""
        monkeypatch.setattr(_layout, "file_name", lambda template, delivery: "x" * 300 + delivery.id)
        refused_for_its_name(receiver, receiver.outlet)

    def test_a_file_name_that_the_target_does_not_take_is_permanent(
            self, receiver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_layout, "unique_names", lambda names: names_of(259, names))
        refused_for_its_name(receiver, receiver.outlet)

    def test_a_name_of_255_bytes_is_taken(self, receiver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_layout, "unique_names", lambda names: names_of(255, names))
        outlet = receiver.outlet()
        receipt = outlet.deliver(make_delivery(), Effect())
        assert outlet.probe(make_delivery()) == Done(receipt)
        outlet.close()
        names = {path.name for path in (receiver.root / receipt.reference).iterdir()}
        assert names == set(names_of(255, APPLICATION))
        assert {len(name.encode()) for name in names} == {255}

    def test_names_that_differ_by_case_only(self, receiver: Any) -> None:
        """On some servers they are the same name: nothing is lost, and nothing of others is touched."""
        other = receiver.put(f"{NAME.upper()}/antrag.pdf", b"fremd")
        parts = [("attachment", name, "application/pdf", name.encode())
                 for name in ("Antrag.pdf", "ANTRAG.PDF", "antrag.pdf")]
        outlet, delivery = receiver.outlet(), make_delivery(parts)
        receipt = outlet.deliver(delivery, Effect())
        assert outlet.probe(delivery) == Done(receipt)
        outlet.close()
        assert other.read_bytes() == b"fremd"
        bodies = {path.name: path.read_bytes() for path in (receiver.root / receipt.reference).iterdir()}
        assert sorted(bodies.values()) == sorted(name.encode() for _, name, *_ in parts)
        assert len({name.casefold() for name in bodies}) == 3


def names_of(size: int, things: Sequence[object]) -> list[str]:
    """Names of so many bytes in UTF-8; they need an odd number."""
    return [f"{number}{'ä' * ((size - 5) // 2)}.pdf" for number, _ in enumerate(things)]


def refused_for_its_name(receiver: Any, outlet_of: Callable[[], OutletBase[Any]]) -> None:
    """The delivery is parked with a text that helps; nothing begins, nothing stays."""
    effect, outlet = Effect(), outlet_of()
    with pytest.raises(Permanent, match="zu lang"):
        outlet.deliver(make_delivery(), effect)
    assert effect.begun == 0
    assert receiver.names() == []
    assert outlet.probe(make_delivery()) == Absent()
    outlet.close()
