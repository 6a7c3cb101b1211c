"""Stopping on request: the step under way is finished and saved first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Stop:
    """Whether a stop was asked for."""

    asked: bool = False


@contextmanager
def deferred() -> Iterator[Stop]:
    """Within, the first SIGINT or SIGTERM only asks to stop; a second one interrupts at once.

    The caller looks at the `Stop` and ends in its own time; on leaving, a stop that was asked for becomes a
    KeyboardInterrupt. Outside of the main thread, where Python allows no handlers, nothing changes.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True

    before = {one: signal.signal(one, ask) for one in _SIGNALS}
    try:
        yield stop
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    if stop.asked:
        raise KeyboardInterrupt
