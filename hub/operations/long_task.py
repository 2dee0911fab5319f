"""Long work for an operator: in a thread of its own, one at a time, with a progress that can be asked for.

The daemon's socket answers at once; whoever began something asks again and again how far it is.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from hub.errors import Busy, HubError
from hub.operations import wire
from hub.store.integrity import Progress

log = structlog.get_logger("hub.operations.long_task")


@dataclass(slots=True)
class _Work:
    id: str
    name: str
    step: str = ""
    done: int = 0
    of: int = 0
    running: bool = True
    result: Any = None
    error: dict[str, Any] | None = None


class LongWork:
    """The work at hand, or the last one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._work: _Work | None = None

    def begin(self, name: str, work: Callable[[Progress], Any]) -> str:
        """Start it; its id. Raises `Busy` while another one runs."""
        with self._lock:
            if self._work is not None and self._work.running:
                raise Busy(f"Es läuft schon etwas Langes: {self._work.name}. Bitte danach noch einmal.")
            begun = self._work = _Work(uuid.uuid4().hex, name)
        threading.Thread(target=self._run, args=(begun, work), name=f"long-{name}", daemon=True).start()
        return begun.id

    def look(self, name: str) -> dict[str, Any]:
        """How far it is, at its end with its result or its error (`hub.operations.wire`).

        Raises `HubError` for an id that is not known any more.
        """
        work = self._work
        if work is None or work.id != name:
            raise HubError("Diese Arbeit gibt es nicht mehr.")
        return {"running": work.running, "step": work.step, "done": work.done, "of": work.of,
                "result": work.result, "error": work.error}

    @staticmethod
    def _run(work: _Work, act: Callable[[Progress], Any]) -> None:
        def progress(step: str, done: int, of: int) -> None:
            work.step, work.done, work.of = step, done, of

        try:
            work.result = act(progress)
        except (HubError, OSError) as error:
            work.error = wire.described(error)
        except Exception as error:  # noqa: BLE001 - whoever asks must hear of it
            work.error = wire.described(HubError(type(error).__name__))
            log.error("long work failed; please report this", work=work.name,
                      error_class=type(error).__name__)
        finally:
            work.running = False
