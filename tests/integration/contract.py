"""One suite for every outlet, against a real receiver.

``class TestSmtp(NetworkContract)`` and a fixture `receiver` make a connector's test; what only that connector
promises stands below. The rules that matter most are functions of their own
(`nothing_visible_before_the_effect` …), so that a planted fault can show that the suite notices.
"""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO, ClassVar, Protocol

import pytest

from hub.endpoint import Absent, Done, OutletBase, Unknown, is_certain
from hub.errors import DeliveryError, Temporary
from hub.message import BERLIN, Delivery, Manifest, ManifestPart, delivery_id
from tests.services.proxy import Proxy

MESSAGE = "01936d2e-7c00-7000-8000-000000000001"
CREATED = datetime(2026, 11, 22, 10, 11, 12, tzinfo=BERLIN)
SEPARATORS = "\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"

APPLICATION: tuple[tuple[str, str, str, bytes], ...] = (
    ("text", "antrag.txt", "text/plain", "Halterin: Erika Mustermann\n.\nOrt: Musterstädt\n".encode()),
    ("html", "antrag.html", "text/html", "<p>Halterin: Erika Mustermann, Musterstädt</p>".encode()),
    ("pdf", "antrag.pdf", "application/pdf", b"%PDF-1.7\n" + bytes(range(256)) * 10),
    ("xml", "hundesteuer.xml", "application/xml",
     "<hund><name>Bello</name><ort>Größna</ort></hund>".encode()),
    ("attachment", "Impfpaß Bello.pdf", "application/pdf", b"%PDF-1.4\r\n.\r\n" + b"\x00\xff" * 500),
)


def make_delivery(parts: Sequence[tuple[str, str, str, bytes]] = APPLICATION, *, number: int = 1,
                  subject: str = "Anmeldung zur Hundesteuer", manifest: Mapping[str, Any] | None = None,
                  **changes: Any) -> Delivery:
    """A delivery whose bodies are in memory."""
    blobs = {str(no): content for no, (*_, content) in enumerate(parts)}
    rows = tuple(ManifestPart(role, name, media, len(content), hashlib.sha256(content).hexdigest(), str(no))
                 for no, (role, name, media, content) in enumerate(parts))
    values: dict[str, Any] = {
        "id": delivery_id(MESSAGE, f"recipient-{number}"), "message_id": MESSAGE, "tenant": "musterstadt",
        "ags": "14999010", "service": "hundesteuer", "recipient": f"recipient-{number}",
        "destination": "ziel",
        "attempt": 1, "test": False, "created_at": CREATED,
        "manifest": Manifest(subject, parts=rows, **(manifest or {})),
        "open_blob": lambda blob: io.BytesIO(blobs[blob])}
    return Delivery(**(values | changes))


@dataclass
class Effect:
    """Stands for the hub: counts `effect_begins` and runs `then` in it."""

    then: Callable[[], object] | None = None
    begun: int = 0

    def __call__(self) -> None:
        self.begun += 1
        if self.then is not None:
            self.then()


@dataclass(frozen=True)
class Arrival:
    """One thing as a reader at the receiver finds it."""

    name: str
    bodies: Mapping[str, bytes]
    wire: bytes = field(default=b"", repr=False)


class Receiver(Protocol):
    """The other side, as the suite sees it."""

    def outlet(self) -> OutletBase[Any]:
        """A new outlet for it."""

    def impatient(self) -> OutletBase[Any]:
        """A new outlet with short time-outs, for servers that hang."""

    def arrivals(self) -> list[Arrival]:
        """Everything a reader would see; hidden temporary names are not seen."""

    def inventory(self) -> object:
        """Everything that is there, hidden or not, in a form that compares."""

    def refuse(self) -> None:
        """Say no, clearly, to the next thing that would act."""

    def relent(self) -> None:
        """Say yes again; what `refuse` put there is gone."""


def contents(delivery: Delivery) -> list[bytes]:
    """The bodies, sorted."""
    return sorted(delivery.read(part) for part in delivery.manifest.parts)


class Stopped(Exception):
    """The hub could not write down that the effect begins."""


def nothing_visible_before_the_effect(receiver: Receiver, outlet: OutletBase[Any]) -> None:
    """What makes `in doubt` true: at `effect_begins` nothing has arrived, and if it raises nothing does."""
    seen: list[int] = []

    def stop() -> None:
        seen.append(len(receiver.arrivals()))
        raise Stopped

    with pytest.raises(Stopped):
        outlet.deliver(make_delivery(), Effect(stop))
    outlet.close()
    assert seen == [0], "something had arrived before effect_begins was called"
    assert receiver.arrivals() == [], "something arrived although effect_begins did not return"


def a_clear_no_is_certain(receiver: Receiver, outlet: OutletBase[Any]) -> None:
    """Who was told no needs nobody to look: later it goes as if for the first time."""
    effect = Effect(receiver.refuse)
    with pytest.raises(DeliveryError) as raised:
        outlet.deliver(make_delivery(), effect)
    assert effect.begun == 1, "the receiver was not asked to act"
    assert is_certain(raised.value), "a clear no is taken for a lost answer"
    receiver.relent()
    assert receiver.arrivals() == []
    outlet.deliver(make_delivery(attempt=2), Effect())
    outlet.close()
    assert len(receiver.arrivals()) == 1


class Interrupting(io.BytesIO):
    """A body during which something happens, once: after its first piece, or when it is read as a whole."""

    def __init__(self, content: bytes, then: Callable[[], object]) -> None:
        super().__init__(content)
        self._then: Callable[[], object] | None = then

    def read(self, size: int | None = -1, /) -> bytes:
        """The next piece."""
        if self._then is not None and (self.tell() or size is None or size < 0):
            then, self._then = self._then, None
            then()
        return super().read(size)


class OutletContract:
    """What every outlet promises."""

    at_once: ClassVar[bool] = True
    """Whether a delivery arrives by one act; else it fills piece by piece, and the next try completes it."""

    def same_bytes(self, arrival: Arrival, delivery: Delivery) -> None:
        """The reader finds every body, byte for byte."""
        assert sorted(arrival.bodies.values()) == contents(delivery)

    def test_delivers_every_byte_once(self, receiver: Any) -> None:
        effect, delivery = Effect(), make_delivery()
        outlet = receiver.outlet()
        receipt = outlet.deliver(delivery, effect)
        outlet.close()
        (arrival,) = receiver.arrivals()
        self.same_bytes(arrival, delivery)
        assert effect.begun == 1
        assert delivery.id in receipt.reference
        assert "Mustermann" not in repr(receipt)

    def test_a_second_try_is_the_same_thing(self, receiver: Any) -> None:
        first, second = receiver.outlet(), receiver.outlet()
        one = first.deliver(make_delivery(), Effect())
        before = receiver.inventory()
        two = second.deliver(make_delivery(attempt=2), Effect())
        first.close()
        second.close()
        arrivals = receiver.arrivals()
        assert one.reference == two.reference
        if first.repeat == "ask":
            assert [arrival == arrivals[0] for arrival in arrivals] == [True, True]
        else:
            assert len(arrivals) == 1
            assert receiver.inventory() == before

    def test_two_deliveries_are_two_things(self, receiver: Any) -> None:
        outlet = receiver.outlet()
        for number in (1, 2):
            outlet.deliver(make_delivery(number=number), Effect())
        outlet.close()
        assert len({arrival.name for arrival in receiver.arrivals()}) == 2

    def test_nothing_is_visible_before_the_effect(self, receiver: Any) -> None:
        nothing_visible_before_the_effect(receiver, receiver.outlet())

    def test_a_stopped_try_can_be_repeated(self, receiver: Any) -> None:
        outlet = receiver.outlet()

        def stop() -> None:
            raise Stopped

        with pytest.raises(Stopped):
            outlet.deliver(make_delivery(), Effect(stop))
        outlet.deliver(make_delivery(attempt=2), Effect())
        outlet.close()
        assert len(receiver.arrivals()) == 1

    def test_the_suite_notices_an_effect_that_is_announced_too_late(self, receiver: Any) -> None:
        outlet = receiver.outlet()
        honest = outlet.deliver

        def late(delivery: Delivery, effect_begins: Callable[[], None]) -> Any:
            receipt = honest(delivery, lambda: None)
            effect_begins()
            return receipt

        outlet.deliver = late
        with pytest.raises(AssertionError, match="before effect_begins"):
            nothing_visible_before_the_effect(receiver, outlet)

    def test_probe_knows_and_changes_nothing(self, receiver: Any) -> None:
        outlet, delivery = receiver.outlet(), make_delivery()
        nothing = receiver.inventory()
        before = outlet.probe(delivery)
        assert receiver.inventory() == nothing
        receipt = outlet.deliver(delivery, Effect())
        there = receiver.inventory()
        after = outlet.probe(delivery)
        outlet.close()
        assert receiver.inventory() == there
        if outlet.repeat == "probe":
            assert before == Absent()
            assert after == Done(receipt)
        else:
            assert isinstance(before, Unknown)
            assert isinstance(after, Unknown)

    def test_names_of_any_kind_arrive_harmless(self, receiver: Any) -> None:
        names = ["../../etc/passwd", "C:\\temp\\a.pdf", "a.pdf", "A.PDF", ".htaccess", "CON", "",
                 "x" * 300 + ".pdf",
                 f"zeile{SEPARATORS}zwei.pdf", "Grüße 😀.pdf", "-rf", "a\x00b.pdf", "\ud800.pdf", 'q".pdf',
                 "=?utf-8?b?eA==?="]
        delivery = make_delivery([("attachment", name, "application/octet-stream", f"{no}".encode())
                                  for no, name in enumerate(names)])
        outlet = receiver.outlet()
        outlet.deliver(delivery, Effect())
        outlet.close()
        (arrival,) = receiver.arrivals()
        self.same_bytes(arrival, delivery)
        for name in arrival.bodies:
            assert name.isascii()
            assert name.isprintable()
            assert not set(name) & set('/\\:"*?<>|')
            assert not name.startswith((".", "-"))
            assert len(name) <= 80
        assert len({name.lower() for name in arrival.bodies}) == len(names)

    def test_line_separators_in_the_subject(self, receiver: Any) -> None:
        outlet = receiver.outlet()
        delivery = make_delivery(subject=f"Hund{SEPARATORS}Bcc: fremd@example.org\r\n\r\nText")
        outlet.deliver(delivery, Effect())
        outlet.close()
        (arrival,) = receiver.arrivals()
        self.same_bytes(arrival, delivery)

    def test_an_empty_file(self, receiver: Any) -> None:
        """A form can have one, and no protocol may take it for the end of anything."""
        empty = ("attachment", "leer.txt", "text/plain", b"")
        delivery = make_delivery([*APPLICATION[:4], empty, APPLICATION[4]])
        effect, outlet = Effect(), receiver.outlet()
        outlet.deliver(delivery, effect)
        (arrival,) = receiver.arrivals()
        self.same_bytes(arrival, delivery)
        outlet.deliver(dataclasses.replace(delivery, attempt=2), Effect())
        outlet.close()
        assert effect.begun == 1
        assert len({each.name for each in receiver.arrivals()}) == 1

    def test_a_clear_no_after_the_effect_is_certain(self, receiver: Any) -> None:
        a_clear_no_is_certain(receiver, receiver.outlet())

    def test_the_suite_notices_a_no_that_is_not_marked(self, receiver: Any) -> None:
        outlet = receiver.outlet()
        honest = outlet.deliver

        def unsure(delivery: Delivery, effect_begins: Callable[[], None]) -> Any:
            try:
                return honest(delivery, effect_begins)
            except DeliveryError as error:
                raise type(error)(str(error)) from error

        outlet.deliver = unsure
        with pytest.raises(AssertionError, match="clear no"):
            a_clear_no_is_certain(receiver, outlet)

    def test_closed_in_the_middle_of_a_body(self, receiver: Any) -> None:
        """What a library still holds open then neither hangs, nor acts, nor harms the next connection."""
        big = hashlib.sha256(b"bild").digest() * (8_000_000 // 32)
        delivery = make_delivery([*APPLICATION[:4], ("attachment", "foto.jpg", "image/jpeg", big)])
        outlet, honest = receiver.outlet(), delivery.open_blob

        def interrupted(blob: str) -> BinaryIO:
            content = honest(blob).read()
            return Interrupting(content, outlet.close) if len(content) == len(big) else io.BytesIO(content)

        effect, begun = Effect(), time.monotonic()
        try:
            outlet.deliver(dataclasses.replace(delivery, open_blob=interrupted), effect)
        except DeliveryError:
            if self.at_once:
                assert effect.begun == 0, "half a body was taken for a whole one"
                assert receiver.arrivals() == []
            gc.collect()  # a handle that is thrown away now must not complain: warnings are errors
            outlet.deliver(dataclasses.replace(delivery, attempt=2), effect)
        outlet.close()
        assert time.monotonic() - begun < 20
        assert effect.begun >= 1
        (arrival,) = receiver.arrivals()
        self.same_bytes(arrival, delivery)

    def test_thirty_megabytes(self, receiver: Any) -> None:
        big = hashlib.sha256(b"bild").digest() * (30_000_000 // 32)
        delivery = make_delivery([*APPLICATION[:4], ("attachment", "foto.jpg", "image/jpeg", big)])
        outlet = receiver.outlet()
        outlet.deliver(delivery, Effect())
        outlet.close()
        (arrival,) = receiver.arrivals()
        self.same_bytes(arrival, delivery)

    def test_check_is_content_and_leaves_nothing(self, receiver: Any) -> None:
        outlet = receiver.outlet()
        before = receiver.inventory()
        findings = outlet.check()
        outlet.close()
        assert findings
        assert [finding for finding in findings if finding.severity == "error"] == []
        assert receiver.inventory() == before

    def test_close_may_be_followed_by_another_delivery(self, receiver: Any) -> None:
        outlet = receiver.outlet()
        outlet.close()
        outlet.deliver(make_delivery(), Effect())
        outlet.close()
        outlet.close()
        outlet.deliver(make_delivery(number=2), Effect())
        outlet.close()
        assert len(receiver.arrivals()) == 2


class NetworkContract(OutletContract):
    """What every outlet that speaks over TCP promises. `receiver.proxy` stands between."""

    questions: ClassVar[int] = 0
    """How many answers an outlet awaits between `effect_begins` and the byte that acts."""

    def test_a_dead_server_is_temporary(self, receiver: Any) -> None:
        receiver.stop()
        effect, outlet = Effect(), receiver.outlet()
        with pytest.raises(Temporary):
            outlet.deliver(make_delivery(), effect)
        assert effect.begun == 0
        assert [finding.severity for finding in outlet.check()][-1] == "error"

    def test_a_dead_server_cannot_be_probed_now(self, receiver: Any) -> None:
        """Not knowing now is no answer: it must not make a person look."""
        receiver.stop()
        outlet = receiver.outlet()
        if outlet.repeat == "probe":
            with pytest.raises(Temporary):
                outlet.probe(make_delivery())
        else:
            assert isinstance(outlet.probe(make_delivery()), Unknown)

    def test_a_server_that_hangs_is_temporary(self, receiver: Any) -> None:
        proxy: Proxy = receiver.proxy
        proxy.hang()
        effect, outlet = Effect(), receiver.impatient()
        with pytest.raises(Temporary):
            outlet.deliver(make_delivery(), effect)
        assert effect.begun == 0
        proxy.behave()
        outlet.deliver(make_delivery(attempt=2), effect)
        outlet.close()
        assert len(receiver.arrivals()) == 1

    def test_a_line_cut_in_the_middle_leaves_nothing_and_can_be_repeated(self, receiver: Any) -> None:
        proxy: Proxy = receiver.proxy
        # larger than the kernel's buffers on both sides together, else the last byte is gone before the cut
        # is felt
        attachment = ("attachment", "gross.bin", "application/octet-stream", bytes(16_000_000))
        big = make_delivery([*APPLICATION, attachment])
        effect, outlet = Effect(), receiver.outlet()
        proxy.cut_after(1_000_000)
        with pytest.raises(Temporary):
            outlet.deliver(big, effect)
        assert effect.begun == 0
        assert receiver.arrivals() == []
        proxy.behave()
        outlet.deliver(big, effect)
        outlet.close()
        assert len(receiver.arrivals()) == 1

    @pytest.mark.parametrize("fault", ["lose", "cut_at_answer"])
    def test_a_lost_answer_is_in_doubt(self, receiver: Any, fault: str) -> None:
        """The receiver has it, the hub does not know: the error after the effect is no clear answer."""
        proxy: Proxy = receiver.proxy
        effect = Effect(lambda: getattr(proxy, fault)(self.questions))
        outlet = receiver.impatient()
        with pytest.raises(DeliveryError) as raised:
            outlet.deliver(make_delivery(), effect)
        assert effect.begun == 1
        assert not is_certain(raised.value)
        proxy.behave()
        receiver.wait_for_arrivals(1)
        result = outlet.probe(make_delivery(attempt=2))
        outlet.close()
        assert isinstance(result, Done if outlet.repeat == "probe" else Unknown)

    def test_a_connection_lost_between_deliveries_is_made_anew(self, receiver: Any) -> None:
        proxy: Proxy = receiver.proxy
        outlet = receiver.outlet()
        outlet.deliver(make_delivery(), Effect())
        outlet.deliver(make_delivery(number=2), Effect())
        assert proxy.connections == 1, "the connection is not kept"
        receiver.drop_connections()
        outlet.deliver(make_delivery(number=3), Effect())
        outlet.close()
        assert len(receiver.arrivals()) == 3
