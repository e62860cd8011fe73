"""Throughput: what a consumer of 64-byte events costs, and what rate it sustains without loss.

Claims: consumer CPU time per delivered event of the batch path (``@prog.on_batch``, one column summed) is at most a
tenth of one callback per event (``@prog.on``) and of bpftrace's ``printf`` of the same fields to a pipe; and it is free
of loss at 90 % or more of the rate that a consumer sustains which only skips records.

Producer and consumer are processes of their own, each on a CPU of its own. The producer is a kernel program that is run
again and again at a given rate; bpftrace, which cannot run such programs, watches a process that makes system calls at
a given rate. CPU time is that of the consumer's process, user and system, over a paced run; rounds are interleaved,
medians compared. At a low rate a wake-up costs more than the few events it brings, so a high and a low rate are shown.
Needs root and bpftrace.

    benchmarks/throughput.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import gc
import os
import select
import statistics
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import peers

from osmia import Char, Program, comm, cpu, ktime_ns, pid, u32, u64
from osmia.runtime.loop import Loop

RING = 4 << 20
BURST = 256
CONSUMER_CPU, PRODUCER_CPU = 0, 1
STOP = (-1.0, 0)
LOW, HIGH = 100_000, 2_000_000  # events a second
KINDS = {
    "callback": "one object per event (@prog.on)",
    "bare": "one call per event, with a tuple",
    "batch": "numpy batches (@prog.on_batch)",
    "skip": "skipping, gathering as above",
}
STEPS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)  # of the producer's highest rate
TRIALS, TRIAL = 3, 0.25

prog = Program("throughput")


@prog.event
class Event:
    at: u64
    pid: u32
    cpu: u32
    fd: u64
    place: u64
    size: u64
    position: u64
    comm: Char[16]


events = prog.ring(Event, size=RING)
burst = prog.var(u32, BURST)


@prog.syscall
def produce() -> int:
    now = ktime_ns()
    process = pid()
    name = comm()
    sent = 0
    for number in range(burst.value):
        if events.submit(Event(now, process, cpu(), 3, number, 64, 1, name)):
            sent += 1
    return sent


# -- the producer: a process that runs the kernel program at a given rate ---------------------------------------------


def pace(rate: float, bursts: int, send: Callable[[], int]) -> tuple[int, float]:
    """Sends bursts at a rate of events a second, 0 for the highest; the number of events sent, and the seconds."""
    sent = 0
    interval = BURST / rate if rate else 0.0
    begun = time.perf_counter()
    for number in range(bursts):
        due = begun + number * interval
        while (left := due - time.perf_counter()) > 0:
            if left > 0.0005:
                time.sleep(left - 0.0003)
        sent += send()
    return sent, time.perf_counter() - begun


class Producer:
    """The other side of a pair of pipes; orders are (rate, bursts), answers (events sent, seconds)."""

    def __init__(self, send: Callable[[], int]) -> None:
        order_read, self._orders = os.pipe()
        self.answers, answer_write = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            status = 1
            try:
                os.close(self._orders)
                settle(PRODUCER_CPU)
                while (order := struct.unpack("=dQ", os.read(order_read, 16))) != STOP:
                    rate, bursts = order
                    os.write(answer_write, struct.pack("=Qd", *pace(rate, bursts, send)))
                status = 0
            finally:
                os._exit(status)
        os.close(order_read)
        os.close(answer_write)

    def start(self, rate: float, count: int) -> None:
        os.write(self._orders, struct.pack("=dQ", rate, max(1, count // BURST)))

    def answer(self) -> tuple[int, float]:
        data = os.read(self.answers, 16)
        if not data:
            raise SystemExit("the producer ended early")
        sent, seconds = struct.unpack("=Qd", data)
        return sent, seconds

    def close(self) -> None:
        os.write(self._orders, struct.pack("=dQ", *STOP))
        os.waitpid(self.pid, 0)
        os.close(self._orders)
        os.close(self.answers)


def settle(number: int, process: int = 0) -> None:
    """Puts a process (this one) on one CPU, before other work on the machine."""
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(process, {allowed[number % len(allowed)]})
    os.setpriority(os.PRIO_PROCESS, process, -15)


# -- the consumers ----------------------------------------------------------------------------------------------------


class Consumer:
    """A process that reads the ring in one of three ways, with its producer; takes orders as (rate, count)."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        order_read, self._orders = os.pipe()
        self._answers, answer_write = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            status = 1
            try:
                os.close(self._orders)
                settle(CONSUMER_CPU)
                _consume(kind, order_read, answer_write)
                status = 0
            except BaseException:  # noqa: BLE001 - a child of fork ends here, whatever happened
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(order_read)
        os.close(answer_write)

    def measure(self, rate: float, count: int) -> Result:
        os.write(self._orders, struct.pack("=dQ", rate, count))
        data = os.read(self._answers, 40)
        if not data:
            raise SystemExit(f"the consumer '{self.kind}' ended early")
        return Result(*struct.unpack("=QQQdQ", data))

    def close(self) -> None:
        os.write(self._orders, struct.pack("=dQ", *STOP))
        os.waitpid(self.pid, 0)
        os.close(self._orders)
        os.close(self._answers)


class Result:
    """One paced run: events asked for, sent and delivered, seconds, and the consumer's CPU time in ns."""

    def __init__(self, asked: int, sent: int, delivered: int, seconds: float, cpu_ns: int) -> None:
        self.lost = asked - sent
        self.delivered = delivered
        self.rate = asked / seconds
        self.each = cpu_ns / delivered
        if delivered != sent:
            raise SystemExit(f"{sent} events were sent and {delivered} delivered")


def _consume(kind: str, orders: int, answers: int) -> None:
    seen = [0, 0]

    def take(batch: Any) -> None:
        seen[0] += len(batch)
        seen[1] += int(batch["place"].sum())

    def one(event: Event) -> None:
        seen[0] += 1
        seen[1] += event.place

    def bare(row: tuple[Any, ...]) -> None:
        seen[0] += 1
        seen[1] += row[4]

    def call_bare() -> None:
        for row in stream.buffer.read_tuples(layout):
            bare(row)

    def skip() -> None:
        seen[0] += stream.buffer.skip(layout)

    if kind == "batch":
        prog.on_batch(events)(take)
    elif kind == "callback":
        prog.on(events)(one)
    with prog.open(attach=False, cache=False) as session:
        (stream,) = session.streams
        layout = stream.schema.layout
        if kind in ("bare", "skip", "skip at once"):
            stream.drain = call_bare if kind == "bare" else skip
        on_ready = skip if kind == "skip at once" else stream.on_ready
        program = session.loaded.programs["produce"]
        producer = Producer(lambda: int(program.test_run().retval))
        _once(producer, stream, on_ready, 0.0, 2 * RING // 72)  # every page and every import was touched once
        gc.disable()
        while (order := struct.unpack("=dQ", os.read(orders, 16))) != STOP:
            rate, count = order
            seen[:] = [0, 0]
            before = time.process_time_ns()
            sent, seconds = _once(producer, stream, on_ready, rate, count)
            used = time.process_time_ns() - before
            bursts = max(1, count // BURST)
            if not kind.startswith("skip") and sent == bursts * BURST and seen[1] != bursts * sum(range(BURST)):
                raise SystemExit("the sum of the column is wrong")
            os.write(answers, struct.pack("=QQQdQ", bursts * BURST, sent, seen[0], seconds, used))
        producer.close()


def _once(producer: Producer, stream: Any, on_ready: Callable[[], None], rate: float, count: int) -> tuple[int, float]:
    answer = []
    with Loop() as loop:

        def finished() -> None:
            answer.append(producer.answer())
            loop.stop("finished")

        loop.reader(stream.fileno(), on_ready)
        loop.reader(producer.answers, finished)
        producer.start(rate, count)
        loop.run()
    stream.drain()
    sent, seconds = answer[0]
    return sent, seconds


# -- bpftrace ---------------------------------------------------------------------------------------------------------

PRINTF = (
    "tracepoint:syscalls:sys_enter_pread64 /pid == PID/ "
    '{ printf("%llu %d %d %d %llu %llu %llu %s\\n", '
    "nsecs, pid, cpu, args->fd, args->buf, args->count, args->pos, comm); }"
)


class Bpftrace:
    """bpftrace, printing to a pipe what a process does that makes system calls at a given rate."""

    def __init__(self) -> None:
        zeros = os.open("/dev/zero", os.O_RDONLY)
        pread = os.pread

        def calls() -> int:
            for number in range(BURST):
                pread(zeros, 64, number)
            return BURST

        self._producer = Producer(calls)
        environment = {
            **os.environ, "__BPFTRACE_NOTIFY_PROBES_ATTACHED": "1", "BPFTRACE_PERF_RB_PAGES": "1024",
        }  # fmt: skip
        self._tracer = subprocess.Popen(
            ["bpftrace", "-e", PRINTF.replace("PID", str(self._producer.pid))],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        settle(CONSUMER_CPU, self._tracer.pid)
        assert self._tracer.stdout is not None
        self._out = self._tracer.stdout.fileno()
        text = b""
        while b"__BPFTRACE_NOTIFY_PROBES_ATTACHED" not in text:
            chunk = os.read(self._out, 65536)
            if not chunk:
                raise SystemExit(f"bpftrace ended early:\n{text.decode(errors='replace')}")
            text += chunk
        self.lost = 0
        self.measure(LOW, LOW // 10)
        self.lost = 0

    def measure(self, rate: float, count: int) -> float:
        """CPU nanoseconds per printed event."""
        count = count // BURST * BURST
        clock = -(self._tracer.pid + 1) * 8 + 2  # CPU time of another process, as clock_getcpuclockid(3) makes it
        before = time.clock_gettime_ns(clock)
        self._producer.start(rate, count)
        lines = 0
        quiet = 0
        while lines < count and quiet < 5:
            if not select.select([self._out], [], [], 0.2)[0]:
                quiet += 1
                continue
            quiet = 0
            text = os.read(self._out, 1 << 20)
            lines += text.count(b"\n") - text.count(b"Lost ")
        self._producer.answer()
        self.lost += count - lines
        return (time.clock_gettime_ns(clock) - before) / max(1, lines)

    def close(self) -> None:
        self._producer.close()
        self._tracer.kill()
        self._tracer.communicate()


# -- measuring --------------------------------------------------------------------------------------------------------


def costs(rounds: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Nanoseconds per event by consumer and rate, and the events lost."""
    found: dict[str, list[float]] = {}
    lost: dict[str, int] = {}
    consumers = {kind: Consumer(kind) for kind in KINDS}
    tracer = Bpftrace()
    for _ in range(rounds):
        found.setdefault("bpftrace low", []).append(tracer.measure(LOW, LOW // 4))
        found.setdefault("bpftrace high", []).append(tracer.measure(0, LOW // 4))
        for kind, consumer in consumers.items():
            found.setdefault(f"{kind} low", []).append(consumer.measure(LOW, LOW // 4).each)
            result = consumer.measure(HIGH, HIGH // 5)
            found.setdefault(f"{kind} high", []).append(result.each)
            lost[kind] = lost.get(kind, 0) + result.lost
    lost["bpftrace"] = tracer.lost
    tracer.close()
    for consumer in consumers.values():
        consumer.close()
    return found, lost


def sustained() -> dict[str, float]:
    """The highest rate without loss of a consumer that only skips, and of batches; and what the producer is able to.

    A trial sends the ring's size many times over. The best of three counts, for both: other work on the machine can
    only do harm.
    """
    kinds = ("skip at once", "batch")
    consumers = {kind: Consumer(kind) for kind in kinds}
    best = dict.fromkeys(kinds, 0.0)
    highest = max(consumers["skip at once"].measure(0, 1_000_000).rate for _ in range(TRIALS))
    for step in STEPS:
        rate = highest * step
        for _ in range(TRIALS):
            for kind, consumer in consumers.items():
                if not best[kind]:
                    result = consumer.measure(rate, int(rate * TRIAL))
                    best[kind] = 0.0 if result.lost else min(result.rate, rate)
        if all(best.values()):
            break
    for consumer in consumers.values():
        consumer.close()
    return {**best, "producer": highest}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    peers.require("bpftrace", "unshare")
    peers.with_tracefs()
    found, lost = costs(rounds)
    print(f"{peers.versions()}; medians of {rounds} rounds")
    middle = {name: statistics.median(values) for name, values in found.items()}
    print(f"{'consumer CPU ns per delivered 64-byte event':<44} {'100,000/s':>10} {'2,000,000/s':>12} {'lost':>8}")
    print(
        f"{'bpftrace printf to a pipe (right: no pauses)':<44} {middle['bpftrace low']:>10.0f}"
        f" {middle['bpftrace high']:>12.0f} {lost['bpftrace']:>8}"
    )
    for kind, text in KINDS.items():
        print(f"{text:<44} {middle[f'{kind} low']:>10.0f} {middle[f'{kind} high']:>12.1f} {lost[kind]:>8}")
    batch = middle["batch high"]
    printf = min(middle["bpftrace low"], middle["bpftrace high"])
    by_callback, by_printf = batch / middle["callback high"], batch / printf
    print(f"batches / callbacks {by_callback:.3f}; batches / printf {by_printf:.4f}")
    print(f"batches / bare calls {batch / middle['bare high']:.3f} (no claim)")
    rates = sustained()
    share = rates["batch"] / rates["skip at once"] if rates["skip at once"] else 0.0
    print(
        f"loss-free events/s: skipping {rates['skip at once']:,.0f}, batches {rates['batch']:,.0f}, ratio {share:.2f}"
        f" (the producer's highest rate: {rates['producer']:,.0f})"
    )
    good = by_callback <= 0.1 and by_printf <= 0.1 and share >= 0.9
    print("claims hold" if good else "claims do NOT hold")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
