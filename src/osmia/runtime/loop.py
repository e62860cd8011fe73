"""The session's wait: descriptors, timers, signals and one deadline in one epoll."""

from __future__ import annotations

import os
import select
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Loop:
    """Calls back when descriptors are readable and timers are due, until :meth:`stop`, a signal or the deadline.

    :ivar stopped_by: ``""`` while running, then ``signal``, ``deadline`` or the reason given to :meth:`stop`.
    :ivar signal: the number of the signal that ended the loop, 0 for none.
    """

    def __init__(self) -> None:
        self.stopped_by = ""
        self.signal = 0
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._timers: list[list[Any]] = []
        self._deadline = float("inf")
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._epoll.register(self._wake_read, select.EPOLLIN)
        self._saved: dict[int, Any] = {}
        self._saved_wakeup = -1

    def __enter__(self) -> Loop:
        self._install()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def reader(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Calls back whenever the descriptor can be read."""
        self._readers[descriptor] = callback
        self._epoll.register(descriptor, select.EPOLLIN)

    def forget(self, descriptor: int) -> None:
        """No longer watches the descriptor."""
        if self._readers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def every(self, seconds: float, callback: Callable[[], None]) -> None:
        """Calls back at a steady interval; ticks missed while busy are skipped, not made up for."""
        self._timers.append([time.monotonic() + seconds, seconds, callback])

    def deadline(self, seconds: float) -> None:
        """Stops the loop that many seconds from now."""
        self._deadline = time.monotonic() + seconds

    def stop(self, reason: str) -> None:
        """Ends :meth:`run` after the current callback; the first reason stays."""
        self.stopped_by = self.stopped_by or reason

    def run(self) -> str:
        """Runs until stopped and returns the reason."""
        while not self.stopped_by:
            self.step()
        return self.stopped_by

    def step(self) -> None:
        """Waits for one round of events and handles it."""
        now = time.monotonic()
        due = min([self._deadline] + [timer[0] for timer in self._timers])
        timeout = -1 if due == float("inf") else max(0.0, due - now)
        for descriptor, _ in self._epoll.poll(timeout):
            if descriptor == self._wake_read:
                self._drain_wake()
            elif descriptor in self._readers:
                self._readers[descriptor]()
        now = time.monotonic()
        for timer in self._timers:
            if timer[0] <= now and not self.stopped_by:
                missed = int((now - timer[0]) / timer[1])
                timer[0] += (missed + 1) * timer[1]
                timer[2]()
        if now >= self._deadline:
            self.stop("deadline")

    def close(self) -> None:
        """Gives the signals back and frees the descriptors."""
        for number, handler in self._saved.items():
            signal.signal(number, handler)
        if self._saved:
            signal.set_wakeup_fd(self._saved_wakeup)
        self._saved = {}
        for descriptor in (self._wake_read, self._wake_write):
            if descriptor >= 0:
                os.close(descriptor)
        self._wake_read = self._wake_write = -1
        self._epoll.close()

    def _install(self) -> None:
        try:
            for number in _STOPPING:
                self._saved[number] = signal.signal(number, self._on_signal)
        except ValueError:
            return  # only the main thread may handle signals; elsewhere whoever owns it ends the loop
        self._saved_wakeup = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or number
        if self.stopped_by == "signal":
            raise KeyboardInterrupt  # the second Ctrl-C interrupts the final output too
        self.stopped_by = "signal"

    def _drain_wake(self) -> None:
        try:
            while os.read(self._wake_read, 64):
                pass
        except BlockingIOError:
            return
