"""One suite for every drop, against a real target: what all of them promise beyond `OutletContract`.

``class TestSftpDrop(DropContract)`` and a fixture `receiver`, whose class is a `DropFolder`, make a drop's
test; what only that protocol promises stands beside it. Links and disks that take nothing more are in
`drop_limits`. The rules that matter most are functions of their
own, so that a planted fault can show that the suite notices.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from connectors._drop import Rehearsal
from connectors._layout import Plan
from hub.endpoint import Absent, Done, OutletBase, Unknown, is_certain
from hub.errors import DeliveryError, Misconfigured, Permanent, Temporary
from tests.integration.contract import Effect, make_delivery
from tests.integration.drop_folder import NAME, OLD
from tests.integration.drop_limits import LimitsContract


def everything_is_hidden_until_the_effect(receiver: Any, outlet: OutletBase[Any],
                                          ending: str = ".part") -> None:
    """Before the effect one hidden name lies there, and after it the final one."""
    seen: list[str] = []
    receipt = outlet.deliver(make_delivery(), Effect(lambda: seen.extend(receiver.names())))
    outlet.close()
    assert len(seen) == 1, "not written below one hidden name"
    assert seen[0].startswith(f".{NAME}."), "not written below a hidden name"
    assert seen[0].endswith(ending), "the hidden name has another ending"
    assert receiver.names() == [receipt.reference], "something is left beside the delivery"


def left_overs_are_swept(receiver: Any, outlet: OutletBase[Any]) -> None:
    """Of any earlier try, killed at any moment, also after this outlet has looked through the folder."""
    receiver.put(f"{OLD}/antrag.pdf", b"halb")
    other = receiver.put(".2026-11-22_hundesteuer_other.0badcafe.part").name
    outlet.deliver(make_delivery(attempt=2), Effect())
    assert receiver.names() == [other, NAME], "a left-over of the old kind stays"
    left = make_delivery(number=2)
    hidden = [Plan("", NAME.replace(make_delivery().id, left.id), True, (), attempt).hidden(slot)
              for attempt, slot in ((1, 1), (1, 2), (3, 1))]
    for name in hidden:
        receiver.put(f"{name}/antrag.pdf", b"halb")
    outlet.deliver(make_delivery(number=2, attempt=4), Effect())
    outlet.close()
    hidden = [name for name in receiver.names() if name.startswith(".")]
    assert hidden == [other], "a left-over of an earlier try stays"


def check_leaves_nothing(receiver: Any, outlet: OutletBase[Any]) -> None:
    """Also where something in the middle of the rehearsal is refused."""
    before = receiver.inventory()
    findings = outlet.check()
    outlet.close()
    assert "error" in [finding.severity for finding in findings], "the refusal is not told"
    assert receiver.inventory() == before, "the check left something behind"


class HiddenNamesContract:
    """What every drop promises of its hidden names: left-overs, and tries that overlap."""

    place: ClassVar[type]
    """The protocol's `Place`."""

    @pytest.mark.parametrize("layout", ["folder", "single"])
    def test_everything_is_hidden_until_the_effect(self, receiver: Any, layout: str) -> None:
        everything_is_hidden_until_the_effect(receiver, receiver.outlet(layout=layout))

    @pytest.mark.parametrize("ending", [".tmp", ""])
    def test_hidden_names_end_as_the_option_says(self, receiver: Any, ending: str) -> None:
        everything_is_hidden_until_the_effect(receiver, receiver.outlet(hidden_ending=ending), ending)

    def test_the_suite_notices_a_visible_name(self, receiver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Plan, "hidden", lambda self, slot=1: self.final() + "x")
        with pytest.raises(AssertionError, match="hidden name"):
            everything_is_hidden_until_the_effect(receiver, receiver.outlet())

    def test_a_try_that_may_not_begin_leaves_nothing(self, receiver: Any) -> None:
        """The hub could not write the intent down. That try is not counted: the next has the same number."""
        def stop() -> None:
            raise RuntimeError("not now")

        outlet = receiver.outlet()
        with pytest.raises(RuntimeError):
            outlet.deliver(make_delivery(), Effect(stop))
        assert receiver.names() == []

    def test_killed_tries_are_swept_by_the_next(self, receiver: Any) -> None:
        left_overs_are_swept(receiver, receiver.outlet())

    @pytest.mark.parametrize(("fault", "complaint"), [
        ("computed", "of an earlier try"), ("listed", "of the old kind")])
    def test_the_suite_notices_a_left_over(self, receiver: Any, monkeypatch: pytest.MonkeyPatch, fault: str,
                                           complaint: str) -> None:
        if fault == "computed":
            monkeypatch.setattr(Plan, "hidden_until", lambda self, attempt: iter(()))
        else:
            monkeypatch.setattr(self.place, "names", lambda self, path: [])
        with pytest.raises(AssertionError, match=complaint):
            left_overs_are_swept(receiver, receiver.outlet())

    def test_second_tries_do_not_list_the_folder_each_time(self, receiver: Any,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
        listings: list[str] = []
        honest = self.place.names  # type: ignore[attr-defined]

        def counted(place: Any, path: str) -> Any:
            listings.append(path)
            return honest(place, path)

        monkeypatch.setattr(self.place, "names", counted)
        outlet = receiver.outlet()
        for number in range(1, 6):
            outlet.deliver(make_delivery(number=number, attempt=2 + number), Effect())
        outlet.close()
        assert len(receiver.arrivals()) == 5
        assert listings in ([], [""])

    def test_a_target_that_shows_no_names_takes_second_tries(self, receiver: Any,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(self.place, "names", refusal)
        outlet = receiver.outlet(collected=True)
        assert isinstance(outlet.probe(make_delivery(attempt=2)), Unknown)
        receipt = outlet.deliver(make_delivery(attempt=3), Effect())
        assert receiver.names() == [receipt.reference]

    def test_an_ending_that_was_changed_hides_no_left_over(self, receiver: Any) -> None:
        receiver.put(f"{Plan('', NAME, True, ()).hidden()}/antrag.pdf", b"halb")
        receiver.outlet(hidden_ending=".tmp").deliver(make_delivery(attempt=2), Effect())
        assert receiver.names() == [NAME]

    # -- tries that overlap -----------------------------------------------------------------------------

    @pytest.mark.parametrize("layout", ["folder", "single"])
    def test_two_tries_of_one_number_write_below_two_names(self, receiver: Any, layout: str) -> None:
        """One was not counted, and is still at work. Neither touches what the other writes; one arrives."""
        first, second = receiver.outlet(layout=layout), receiver.outlet(layout=layout)
        seen: list[list[str]] = []
        receipts: list[Any] = []

        def meanwhile() -> None:
            seen.append(receiver.names())
            receipts.append(second.deliver(make_delivery(), Effect(lambda: seen.append(receiver.names()))))

        with pytest.raises(DeliveryError):
            first.deliver(make_delivery(), Effect(meanwhile))
        assert [len(names) for names in seen] == [1, 2], "both tries wrote below one name"
        assert receiver.names() == [receipts[0].reference]
        assert first.probe(make_delivery()) == Done(receipts[0])
        assert first.deliver(make_delivery(attempt=2), Effect()) == receipts[0]

    def test_what_a_third_one_of_that_number_finds_is_left_to_the_next(self, receiver: Any) -> None:
        for slot in (1, 2):
            receiver.put(f"{Plan('', NAME, True, ()).hidden(slot)}/antrag.pdf", b"halb")
        effect, outlet = Effect(), receiver.outlet()
        with pytest.raises(Temporary, match="Reste früherer Versuche"):
            outlet.deliver(make_delivery(), effect)
        assert effect.begun == 0
        outlet.deliver(make_delivery(attempt=2), effect)
        assert receiver.names() == [NAME]

    def test_a_later_try_takes_over_from_one_that_is_still_alive(self, receiver: Any) -> None:
        """The earlier one comes to its effect when its hidden name is gone: it fails, and nothing is half."""
        first, second, go = receiver.outlet(), receiver.outlet(), threading.Event()
        receipts: list[Any] = []

        def meanwhile() -> None:
            receipts.append(second.deliver(make_delivery(attempt=2), Effect()))
            go.set()

        with pytest.raises(DeliveryError):
            first.deliver(make_delivery(), Effect(meanwhile))
        assert go.is_set()
        assert receiver.names() == [NAME]
        assert second.probe(make_delivery(attempt=2)) == Done(receipts[0])


class DropContract(HiddenNamesContract, LimitsContract):
    """What every drop promises besides: layouts, collisions, probe, target and check."""

    def test_it_is_a_drop(self, receiver: Any) -> None:
        assert type(receiver.outlet()).drop
        assert receiver.outlet().repeat == "probe"

    # -- layouts ----------------------------------------------------------------------------------------

    def test_a_folder_and_its_files(self, receiver: Any) -> None:
        receipt = receiver.outlet().deliver(make_delivery(), Effect())
        assert receipt.reference == NAME
        assert sorted(path.name for path in (receiver.root / NAME).iterdir()) == [
            "Impfpass_Bello.pdf", "antrag.html", "antrag.pdf", "antrag.txt", "hundesteuer.xml"]
        assert receipt.detail == {"layout": "folder", "files": "5", "bytes": receipt.detail["bytes"]}

    def test_an_index_lies_beside_them_where_it_is_wanted(self, receiver: Any) -> None:
        outlet = receiver.outlet(index=True)
        receipt = outlet.deliver(make_delivery(), Effect())
        text = (receiver.root / NAME / "_inhalt.txt").read_text(encoding="utf-8")
        assert all(f"{part.sha256}  " in text for part in make_delivery().manifest.parts)
        assert outlet.probe(make_delivery()) == Done(receipt)

    def test_one_file_with_the_parts_extension(self, receiver: Any) -> None:
        outlet, effect = receiver.outlet(layout="single", role="xml"), Effect()
        receipt = outlet.deliver(make_delivery(), effect)
        assert receipt.reference == f"{NAME}.xml"
        assert [arrival.name for arrival in receiver.arrivals()] == [f"{NAME}.xml"]
        assert outlet.probe(make_delivery()) == Done(receipt)
        assert outlet.deliver(make_delivery(), effect) == receipt
        assert effect.begun == 1

    def test_an_empty_file_of_its_own(self, receiver: Any) -> None:
        empty = make_delivery([("xml", "leer.xml", "application/xml", b"")])
        outlet = receiver.outlet(layout="single")
        receipt = outlet.deliver(empty, Effect())
        assert (receiver.root / receipt.reference).read_bytes() == b""
        assert outlet.probe(empty) == Done(receipt)

    def test_without_that_part_it_is_permanent(self, receiver: Any) -> None:
        with pytest.raises(Permanent):
            receiver.outlet(layout="single", role="csv").deliver(make_delivery(), Effect())

    @pytest.mark.parametrize(("layout", "ending"), [("folder", ""), ("single", ".xml")])
    def test_the_recipients_path_is_made_of_safe_steps(self, receiver: Any, layout: str, ending: str) -> None:
        delivery = make_delivery(manifest={"path": "../Ämter//Steuern/"})
        outlet = receiver.outlet(layout=layout)
        assert outlet.probe(delivery) == Absent()
        receipt = outlet.deliver(delivery, Effect())
        assert receipt.reference == f"Aemter/Steuern/{NAME}{ending}"
        assert (receiver.root / receipt.reference).exists()
        assert outlet.probe(delivery) == Done(receipt)

    # -- collisions -------------------------------------------------------------------------------------

    def test_what_a_reader_adds_does_not_make_it_another(self, receiver: Any) -> None:
        outlet = receiver.outlet()
        receipt = outlet.deliver(make_delivery(), Effect())
        receiver.put(f"{NAME}/erledigt.txt", b"ja")
        assert outlet.deliver(make_delivery(), Effect()) == receipt
        assert outlet.probe(make_delivery()) == Done(receipt)

    @pytest.mark.parametrize("layout", ["folder", "single"])
    def test_other_content_is_never_overwritten(self, receiver: Any, layout: str) -> None:
        taken = receiver.put(f"{NAME}/antrag.pdf" if layout == "folder" else f"{NAME}.xml", b"fremd")
        outlet = receiver.outlet(layout=layout)
        assert isinstance(outlet.probe(make_delivery()), Unknown)
        beside = f"{NAME}-2" if layout == "folder" else f"{NAME}-2.xml"
        assert outlet.deliver(make_delivery(), Effect()).reference == beside
        assert taken.read_bytes() == b"fremd"
        assert outlet.deliver(make_delivery(attempt=2), Effect()).reference == beside
        assert isinstance(outlet.probe(make_delivery()), Done)

    def test_one_changed_byte_is_other_content(self, receiver: Any) -> None:
        outlet = receiver.outlet()
        outlet.deliver(make_delivery(), Effect())
        file = receiver.root / NAME / "antrag.pdf"
        file.write_bytes(file.read_bytes()[:-1] + b"!")
        assert isinstance(outlet.probe(make_delivery()), Unknown)
        assert outlet.deliver(make_delivery(attempt=2), Effect()).reference == f"{NAME}-2"

    def test_a_file_where_a_folder_should_be(self, receiver: Any) -> None:
        receiver.put(NAME, b"fremd")
        assert isinstance(receiver.outlet().probe(make_delivery()), Unknown)
        assert receiver.outlet().deliver(make_delivery(), Effect()).reference == f"{NAME}-2"

    @pytest.mark.parametrize("layout", ["folder", "single"])
    def test_what_appears_in_the_last_moment_is_not_overwritten(self, receiver: Any, layout: str) -> None:
        """A rename alone would do it; an empty folder it would replace without a word."""
        name, content = (NAME, None) if layout == "folder" else (f"{NAME}.xml", b"fremd")
        outlet = receiver.outlet(layout=layout)
        with pytest.raises(Temporary) as raised:
            outlet.deliver(make_delivery(), Effect(lambda: receiver.put(name, content)))
        assert is_certain(raised.value)
        assert receiver.names() == [name], "the hidden name stays"
        if content is None:
            assert list((receiver.root / name).iterdir()) == []
        else:
            assert (receiver.root / name).read_bytes() == b"fremd"
        assert "-2" in outlet.deliver(make_delivery(attempt=2), Effect()).reference

    # -- probe ------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("left", [OLD, Plan("", NAME, True, (), 2).hidden()])
    def test_where_a_reader_collects_absence_proves_nothing(self, receiver: Any, left: str) -> None:
        outlet, delivery = receiver.outlet(collected=True), make_delivery(attempt=3)
        assert isinstance(outlet.probe(delivery), Unknown)
        receiver.put(left)
        assert outlet.probe(delivery) == Absent()

    @pytest.mark.parametrize("slot", [1, 2])
    def test_no_left_over_of_its_own_number_outlives_a_delivery(self, receiver: Any, slot: int) -> None:
        """It would prove, once the delivery was collected, that nothing was shown: it would come twice."""
        receiver.put(f"{Plan('', NAME, True, ()).hidden(slot)}/antrag.pdf", b"halb")
        outlet = receiver.outlet(collected=True)
        outlet.deliver(make_delivery(), Effect())
        assert receiver.names() == [NAME]
        shutil.rmtree(receiver.root / NAME)
        assert isinstance(outlet.probe(make_delivery()), Unknown)

    def test_nothing_is_known_of_a_folder_that_may_have_been_collected(self, receiver: Any) -> None:
        delivery = make_delivery(manifest={"path": "Steuern"})
        assert isinstance(receiver.outlet(collected=True).probe(delivery), Unknown)
        assert receiver.outlet().probe(delivery) == Absent()

    # -- the target -------------------------------------------------------------------------------------

    def test_without_its_marker(self, receiver: Any) -> None:
        effect, outlet = Effect(), receiver.outlet(must_contain=".drehscheibe")
        for _ in range(2):
            with pytest.raises(Temporary, match=r"\.drehscheibe"):
                outlet.deliver(make_delivery(), effect)
        with pytest.raises(Temporary, match=r"\.drehscheibe"):
            outlet.probe(make_delivery())
        assert [finding.severity for finding in outlet.check()] == ["error"]
        assert effect.begun == 0
        assert receiver.names() == []
        receiver.put(".drehscheibe", b"")
        outlet.deliver(make_delivery(), effect)
        assert len(receiver.arrivals()) == 1

    def test_a_missing_folder_is_never_made(self, receiver: Any) -> None:
        effect, outlet, before = Effect(), receiver.outlet(**receiver.below("fehlt")), receiver.inventory()
        with pytest.raises(Misconfigured, match="fehlt"):
            outlet.deliver(make_delivery(), effect)
        with pytest.raises(Misconfigured, match="fehlt"):
            outlet.probe(make_delivery())
        assert [finding.severity for finding in outlet.check()] == ["error"]
        assert effect.begun == 0
        assert receiver.inventory() == before

    # -- check ------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("layout", ["folder", "single"])
    @pytest.mark.parametrize("step", ["write", "publish", "sync_folder"])
    def test_check_leaves_nothing_where_one_step_is_refused(
            self, receiver: Any, monkeypatch: pytest.MonkeyPatch, step: str, layout: str) -> None:
        monkeypatch.setattr(self.place, step, refusal)
        check_leaves_nothing(receiver, receiver.outlet(layout=layout))

    def test_the_suite_notices_what_a_check_leaves(self, receiver: Any,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(self.place, "publish", refusal)
        monkeypatch.setattr(Rehearsal, "run", careless(Rehearsal.run))
        with pytest.raises(AssertionError, match="left something"):
            check_leaves_nothing(receiver, receiver.outlet())

    def test_check_says_what_it_could_not_remove(self, receiver: Any,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(self.place, "remove", refusal)
        findings = receiver.outlet().check()
        assert [finding.severity for finding in findings] == ["error", "warning"]
        assert all(name in findings[1].text for name in receiver.names())
        assert receiver.arrivals() == []


def refusal(*_: object, **__: object) -> None:
    """A step that the target does not allow."""
    raise Misconfigured("Das ist dort nicht erlaubt.")


def careless(run: Callable[..., None]) -> Callable[..., None]:
    """The same rehearsal, which does not tidy up."""
    def rehearse(self: Rehearsal, place: Any) -> None:
        remove = type(place).remove
        type(place).remove = lambda *_: None
        try:
            run(self, place)
        finally:
            type(place).remove = remove

    return rehearse
