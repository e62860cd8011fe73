"""Sessions on the live kernel: filters, ends, and that nothing stays behind. Only the tests' own processes are traced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.kernel

COUNTER = """from osmia import Program, TracepointArgs, pid, u32, u64

prog = Program("{name}")
counts = prog.hash(u32, u64)


@prog.tracepoint("syscalls:sys_enter_getppid")
def enter(args: TracepointArgs) -> None:
    counts[pid()] += 1


if __name__ == "__main__":
    prog.run()
"""
CALLS = "import os,time\nfor n in range({count}): os.getppid()\n"


@pytest.fixture
def counter(tmp_path):
    path = tmp_path / "counter.py"
    path.write_text(COUNTER.format(name="counter"))
    return str(path)


@pytest.fixture
def start(osmia_command, tmp_path):
    """Starts ``osmia`` and waits until its probes are attached; ends what is left."""
    running = []

    def begin(*words, program=None):
        environment = {**os.environ, "OSMIA_CACHE_DIR": str(tmp_path / "cache"), "OSMIA_NOTIFY_ATTACHED": "1"}
        command = [sys.executable, program] if program else osmia_command
        child = subprocess.Popen(
            [*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        running.append(child)
        line = child.stderr.readline()
        assert "attached" in line, line + child.stderr.read()
        return child

    yield begin
    for child in running:
        if child.poll() is None:
            child.kill()
        child.communicate()


def calls(count):
    return subprocess.run([sys.executable, "-c", CALLS.format(count=count)], check=True)


def table(text):
    return {row["key"]: row["value"] for row in map(json.loads, text.splitlines()) if row.get("table") == "counts"}


def loaded_names():
    from osmia.kernel.inspect import programs

    return [row.name for row in programs()]


def test_ctrl_c_prints_the_maps_and_detaches(start, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(COUNTER.format(name="ctrl_c").replace("def enter", "def ctrl_c_enter"))
    child = start("run", str(path), "--json")
    worker = subprocess.Popen([sys.executable, "-c", CALLS.format(count=100)])
    worker.wait()
    child.send_signal(signal.SIGINT)
    out, errors = child.communicate(timeout=20)
    assert child.returncode == 0, errors
    assert table(out)[worker.pid] == 100
    assert "ctrl_c_enter" not in loaded_names()


def test_sigterm_ends_in_order(start, counter):
    child = start("run", counter, "--json")
    worker = subprocess.Popen([sys.executable, "-c", CALLS.format(count=7)])
    worker.wait()
    child.terminate()
    out, errors = child.communicate(timeout=20)
    assert child.returncode == 0, errors
    assert table(out)[worker.pid] == 7


def test_sigkill_leaves_nothing_in_the_kernel(start, tmp_path):
    path = tmp_path / "killed.py"
    path.write_text(COUNTER.format(name="killed").replace("def enter", "def sigkill_enter"))
    child = start("run", str(path))
    assert "sigkill_enter" in loaded_names()
    child.kill()
    child.wait()
    for _ in range(50):
        if "sigkill_enter" not in loaded_names():
            break
        time.sleep(0.1)
    assert "sigkill_enter" not in loaded_names()


def test_a_program_file_runs_itself(start, counter):
    child = start("--json", program=counter)
    worker = subprocess.Popen([sys.executable, "-c", CALLS.format(count=3)])
    worker.wait()
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=20)
    assert table(out)[worker.pid] == 3


def test_pid_filter(start, counter):
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1.5)\n" + CALLS.format(count=5)])
    child = start("run", counter, "--json", "--pid", str(worker.pid))
    calls(50)
    worker.wait()
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=20)
    assert table(out) == {worker.pid: 5}


def test_comm_filter(start, counter, tmp_path):
    named = tmp_path / "osmiacomm"
    os.symlink(os.path.realpath(sys.executable), named)
    child = start("run", counter, "--json", "--comm", "osmiacomm")
    calls(50)
    worker = subprocess.Popen([str(named), "-c", CALLS.format(count=4)])
    worker.wait()
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=20)
    assert table(out) == {worker.pid: 4}


def test_command_filter_is_the_whole_tree_and_nothing_else(start, counter):
    script = f"{sys.executable} -c '{CALLS.format(count=6).strip()}' & {sys.executable} -c '{CALLS.format(count=2).strip()}'; wait"
    child = start("run", counter, "--json", "--", "sh", "-c", f"sleep 0.5; {script}")
    calls(50)
    out, errors = child.communicate(timeout=20)
    # The shell itself asks for its parent once.
    assert sorted(table(out).values()) == [1, 2, 6], errors


def test_own_events_are_left_out_unless_asked_for(tmp_path, osmia_command):
    """A program whose user-space timer makes the traced call itself."""
    path = tmp_path / "own.py"
    path.write_text(
        COUNTER.format(name="own").replace(
            "if __name__", "import os\n\n\n@prog.every(0.05)\ndef tick() -> None:\n    os.getppid()\n\n\nif __name__"
        )
    )

    def own(*words):
        done = subprocess.Popen(
            [*osmia_command, "run", str(path), "--json", "--duration", "0.6", *words], stdout=subprocess.PIPE, text=True
        )
        out, _ = done.communicate(timeout=20)
        return table(out).get(done.pid, 0)

    assert own() == 0
    assert own("--self") >= 5


def test_the_duration_ends_it(run_osmia, counter):
    started = time.monotonic()
    done = run_osmia("run", counter, "--duration", "0.5")
    assert done.returncode == 0
    assert 0.5 < time.monotonic() - started < 10


def test_a_full_map_is_reported_with_the_setting(run_osmia, tmp_path):
    path = tmp_path / "full.py"
    path.write_text(
        """from osmia import Program, TracepointArgs, u64, ktime_ns

prog = Program("full")
seen = prog.hash(u64, u64, max_entries=16)


@prog.tracepoint("syscalls:sys_enter_getppid")
def enter(args: TracepointArgs) -> None:
    seen[ktime_ns()] += 1
"""
    )
    done = run_osmia("run", str(path), "--json", "--", sys.executable, "-c", CALLS.format(count=100))
    assert done.returncode == 0, done.stderr
    losses = [json.loads(line)["loss"] for line in done.stdout.splitlines() if '"loss"' in line]
    ((cause, count),) = losses[0].items()
    assert count == 84
    assert "seen" in cause
    assert "max_entries" in cause


def test_a_full_ring_is_counted_and_shown(run_osmia, tmp_path):
    path = tmp_path / "ring.py"
    path.write_text(
        """import time

from osmia import Program, TracepointArgs, u64, Array

prog = Program("ring")


@prog.event
class Big:
    data: Array[u64, 64]


events = prog.ring(Big, size=4096)


@prog.tracepoint("syscalls:sys_enter_getppid")
def enter(args: TracepointArgs) -> None:
    events.submit(Big(data=[0] * 64))


@prog.on(events)
def slow(event: Big) -> None:
    time.sleep(0.2)
"""
    )
    done = run_osmia("run", str(path), "--json", "--", sys.executable, "-c", CALLS.format(count=200))
    assert done.returncode == 0, done.stderr
    losses = [json.loads(line)["loss"] for line in done.stdout.splitlines() if '"loss"' in line]
    assert sum(losses[0].values()) > 100
    assert any("ring" in cause for cause in losses[0])


def test_test_run_of_a_program(tmp_path):
    from osmia import Program, XdpContext
    from osmia.lang.net import XDP_DROP, XDP_PASS, EthHdr

    prog = Program("testrun")

    @prog.xdp
    def short(ctx: XdpContext) -> int:
        if ctx.packet(EthHdr, 50) is None:
            return XDP_DROP
        return XDP_PASS

    assert prog.short.test_run(bytes(60)).retval == XDP_DROP
    assert prog.short.test_run(bytes(64)).retval == XDP_PASS


def test_python_sees_the_maps_while_it_runs(tmp_path):
    from osmia import Program, TracepointArgs, pid, u32, u64

    prog = Program("livemaps")
    counts = prog.hash(u32, u64)

    @prog.tracepoint("syscalls:sys_enter_getppid")
    def enter(args: TracepointArgs) -> None:
        counts[pid()] += 1

    with prog.open(include_self=True, pid=os.getpid()):
        for _ in range(12):
            os.getppid()
        assert counts[os.getpid()] == 12
        assert dict(counts.items()) == {os.getpid(): 12}
        counts.clear()
        assert len(counts) == 0


def test_nothing_is_half_attached_when_one_program_fails(tmp_path, run_osmia):
    path = tmp_path / "half.py"
    path.write_text(
        COUNTER.format(name="half")
        .replace("def enter", "def half_enter")
        .replace(
            "if __name__",
            '@prog.tracepoint("syscalls:no_such_event")\ndef broken(args: TracepointArgs) -> None:\n    counts[1] += 1\n\n\nif __name__',
        )
    )
    done = run_osmia("run", str(path), "--duration", "5")
    assert done.returncode == 1
    assert "half_enter" not in loaded_names()
