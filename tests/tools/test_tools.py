"""The ready tools on the live kernel, each over a command that the test itself starts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from osmia.runtime.programs import find_program, tool_names

pytestmark = pytest.mark.kernel


def rows(done):
    """The JSON lines of a finished run, among which the traced command may have printed its own."""
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_opensnoop_text(run_osmia):
    done = run_osmia("run", "opensnoop", "--", "cat", "/etc/hostname")
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.endswith(" /etc/hostname"))
    assert line.split()[1] == "cat"
    assert "lost" not in done.stderr


def test_opensnoop_json(run_osmia):
    found = rows(run_osmia("run", "opensnoop", "--json", "--", "sh", "-c", "cat /etc/hostname /no/such/file; true"))
    good = next(row for row in found if row.get("path") == "/etc/hostname")
    bad = next(row for row in found if row.get("path") == "/no/such/file")
    assert (good["comm"], good["err"]) == ("cat", "0")
    assert good["fd"] >= 3
    assert (bad["comm"], bad["err"], bad["fd"]) == ("cat", "ENOENT", -1)


def test_opensnoop_failed_only(run_osmia):
    found = rows(
        run_osmia("run", "opensnoop", "--failed", "--json", "--", "sh", "-c", "cat /etc/hostname /no/such/file; true")
    )
    paths = [row["path"] for row in found if "path" in row]
    assert "/no/such/file" in paths
    assert "/etc/hostname" not in paths


def test_the_exit_status_is_the_commands(run_osmia):
    assert run_osmia("run", "opensnoop", "--", "sh", "-c", "exit 7").returncode == 7


def test_execsnoop_sees_the_first_instruction_and_all_descendants(run_osmia):
    found = rows(
        run_osmia("run", "execsnoop", "--json", "--", "sh", "-c", "true; sh -c 'ls / >/dev/null; date >/dev/null'")
    )
    commands = [row["args"] for row in found if "args" in row]
    assert commands[0].startswith("sh -c")
    assert any(command.startswith("ls /") for command in commands)
    assert "date" in commands


def test_execsnoop_cuts_long_arguments_visibly(run_osmia):
    found = rows(run_osmia("run", "execsnoop", "--json", "--", "echo", "x" * 2000))
    text = next(row["args"] for row in found if row.get("comm") == "echo")
    assert text.endswith("...")
    assert len(text) < 600


def test_exitsnoop(run_osmia):
    script = "sh -c 'exit 3'; sh -c 'kill -9 $$'; sleep 0.2; true"
    found = rows(run_osmia("run", "exitsnoop", "--json", "--", "sh", "-c", script))
    ends = [row for row in found if row.get("event") == "Exit"]
    assert any(row["code"] == 3 for row in ends)
    assert any(row["signal"] == "SIGKILL" for row in ends)
    sleeper = next(row for row in ends if row["comm"] == "sleep")
    assert 0.15e9 < sleeper["age_ns"] < 5e9


def test_syscount(run_osmia):
    command = ["dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=5000"]
    found = rows(run_osmia("run", "syscount", "--json", "--", *command))
    counts = {row["syscall"]: row["count"] for row in found if row.get("table") == "syscalls"}
    assert 5000 <= counts["write"] < 5100
    assert 5000 <= counts["read"] < 5200


def test_syscount_by_process_with_latency_and_top(run_osmia):
    script = "dd if=/dev/zero of=/dev/null bs=1 count=2000 2>/dev/null; true"
    found = rows(
        run_osmia("run", "syscount", "--process", "--latency", "--top", "1", "--json", "--", "sh", "-c", script)
    )
    table = [row for row in found if row.get("table") == "processes"]
    assert len(table) == 1
    assert table[0]["comm"] == "dd"
    assert table[0]["time_ns"] > 0


def test_runqlat(run_osmia):
    script = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.01; done"
    found = rows(run_osmia("run", "runqlat", "--json", "--", "sh", "-c", script))
    histogram = next(row for row in found if "histogram" in row)
    assert sum(bucket["count"] for bucket in histogram["buckets"]) >= 10


def test_biolatency_loads_and_prints(run_osmia, tmp_path):
    """Block requests cannot be filtered by process: only the number of completed requests is looked at."""
    target = tmp_path / "data"
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import time,os\nfor n in range(8):\n open({str(target)!r},'wb').write(os.urandom(1<<20)); os.sync(); time.sleep(.1)",
        ]
    )
    done = run_osmia("run", "biolatency", "--json", "--duration", "1.5")
    child.wait()
    found = rows(done)
    assert any("histogram" in row for row in found)


def test_tcpstates(run_osmia):
    script = (
        "import socket,threading\n"
        "s=socket.create_server(('127.0.0.1',0)); p=s.getsockname()[1]\n"
        "c=socket.create_connection(('127.0.0.1',p)); a,_=s.accept(); c.close(); a.close(); s.close(); print(p)\n"
    )
    done = run_osmia("run", "tcpstates", "--json", "--output", "/dev/stderr", "--", sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr
    port = int(done.stdout)
    found = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    steps = {(row["old"], row["new"]) for row in found if row.get("dport") == port}
    assert ("CLOSE", "SYN_SENT") in steps
    assert ("SYN_SENT", "ESTABLISHED") in steps
    assert all(row["destination"] == "127.0.0.1" for row in found if row.get("dport") == port)


def test_profile_folds_stacks(run_osmia):
    script = "end=__import__('time').time()+1.0\nwhile __import__('time').time()<end: sum(range(10000))"
    done = run_osmia("run", "profile", "--hz", "199", "--", sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    total = 0
    for line in lines:
        stack, _, count = line.rpartition(" ")
        assert ";" in stack
        total += int(count)
    assert 60 < total < 400
    assert any("Py" in line or "sum" in line for line in lines)


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bashreadline(osmia_command, tmp_path):
    """An interactive bash on a terminal of the test's own types one line."""
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    environment = {**os.environ, "OSMIA_CACHE_DIR": str(tmp_path), "OSMIA_NOTIFY_ATTACHED": "1"}
    tracer = subprocess.Popen(
        [*osmia_command, "run", "bashreadline", "--json", "--pid", str(pid), "--duration", "4"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        assert "attached" in tracer.stderr.readline()
        os.write(terminal, b"true\n")  # ends the call of readline that began before the probe was there
        time.sleep(0.5)
        os.write(terminal, b"echo osmia-was-here\n")
        time.sleep(1.0)
        os.write(terminal, b"exit\n")
        out, errors = tracer.communicate(timeout=20)
    finally:
        tracer.kill()
        os.close(terminal)
        os.waitpid(pid, 0)
    found = [json.loads(line) for line in out.splitlines()]
    assert any(row.get("line") == "echo osmia-was-here" and row["pid"] == pid for row in found), errors


@pytest.fixture
def namespace():
    """A network namespace with a veth pair into it; everything goes away afterwards."""
    if not shutil.which("ip") or os.geteuid() != 0:
        pytest.skip("needs root and iproute2")
    name = f"osmia-tools-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    other = f"{name}-b"
    try:
        subprocess.run(["ip", "netns", "add", other], check=True)
        for words in (
            f"ip -n {name} link add va type veth peer name vb netns {other}",
            f"ip -n {name} addr add 10.9.0.1/24 dev va", f"ip -n {other} addr add 10.9.0.2/24 dev vb",
            f"ip -n {name} link set va up", f"ip -n {other} link set vb up",
        ):  # fmt: skip
            subprocess.run(words.split(), check=True)
        yield name, other
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)
        subprocess.run(["ip", "netns", "del", other], check=False)


def test_xdpcount(namespace, osmia_command, tmp_path):
    here, there = namespace
    environment = {**os.environ, "OSMIA_CACHE_DIR": str(tmp_path), "OSMIA_NOTIFY_ATTACHED": "1"}
    tracer = subprocess.Popen(
        ["ip", "netns", "exec", here, *osmia_command, "run", "xdpcount", "--interface", "va", "--json", "--duration", "4"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert "attached" in tracer.stderr.readline()
    send = "import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); [s.sendto(b'x'*100, ('10.9.0.1', 9)) for _ in range(25)]"
    subprocess.run(["ip", "netns", "exec", there, sys.executable, "-c", send], check=True)
    out, errors = tracer.communicate(timeout=20)
    assert tracer.returncode == 0, errors
    table = {(row["type"], row["protocol"]): row for row in map(json.loads, out.splitlines()) if row.get("table")}
    assert table["IPv4", "UDP"]["packets"] == 25
    assert table["IPv4", "UDP"]["size"] == 25 * 142


@pytest.mark.parametrize("name", tool_names())
def test_every_tool_builds_an_object_that_bpftool_loads(name, run_osmia, tmp_path):
    if not shutil.which("bpftool") or not shutil.which("unshare") or os.geteuid() != 0:
        pytest.skip("needs root, bpftool and unshare")
    target = tmp_path / f"{name}.bpf.o"
    built = run_osmia("build", name, "-o", str(target))
    assert built.returncode == 0, built.stderr
    # A bpffs in a mount namespace of its own: pins and mount go away with the shell.
    script = 'mount -t bpf bpf "$1" && bpftool prog loadall "$2" "$1/pins" && ls "$1/pins" | wc -l'
    folder = tmp_path / "bpffs"
    folder.mkdir()
    words = ["unshare", "--mount", "sh", "-c", script, "sh", str(folder), str(target)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) >= len(find_program(name).functions)
