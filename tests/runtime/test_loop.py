"""The loop: readers, timers, signals, deadline."""

import os
import signal
import threading
import time

from osmia.runtime.loop import Loop


def test_readers_are_called():
    read, write = os.pipe()
    seen = []
    with Loop() as loop:

        def on_data():
            seen.append(os.read(read, 10))
            loop.stop("done")

        loop.reader(read, on_data)
        os.write(write, b"hello")
        assert loop.run() == "done"
    assert seen == [b"hello"]
    os.close(read)
    os.close(write)


def test_deadline():
    started = time.monotonic()
    with Loop() as loop:
        loop.deadline(0.05)
        assert loop.run() == "deadline"
    assert 0.04 < time.monotonic() - started < 1


def test_timers_are_steady_and_skip_missed_ticks():
    ticks = []
    with Loop() as loop:

        def tick():
            ticks.append(time.monotonic())
            if len(ticks) == 1:
                time.sleep(0.12)

        loop.every(0.05, tick)
        loop.deadline(0.32)
        loop.run()
    assert 3 <= len(ticks) <= 5


def test_a_signal_stops_it_and_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with Loop() as loop:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        loop.deadline(5)
        assert loop.run() == "signal"
        assert loop.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before


def test_no_descriptors_leak():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with Loop() as loop:
            loop.deadline(0.001)
            loop.run()
    assert len(os.listdir("/proc/self/fd")) == before
