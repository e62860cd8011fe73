"""Every example compiles, loads into the live kernel, and does what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted(Path(__file__).resolve().parents[2].joinpath("examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_compiles(path, run_osmia):
    done = run_osmia("check", "--no-load", str(path))
    assert done.returncode == 0, done.stderr


@pytest.mark.kernel
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_kernel_accepts_it(path, run_osmia):
    done = run_osmia("check", str(path))
    assert done.returncode == 0, done.stderr


def example(name):
    return str(next(path for path in EXAMPLES if path.stem == name))


@pytest.mark.kernel
def test_opens(run_osmia):
    done = run_osmia("run", example("opens"), "--json", "--", "cat", "/etc/hostname")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert any(row.get("path") == "/etc/hostname" and row["comm"] == "cat" for row in rows), done.stderr


@pytest.mark.kernel
def test_count(run_osmia):
    done = run_osmia("run", example("count"), "--json", "--", "dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=500")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert next(row["value"] for row in rows if row.get("key") == "dd") >= 1000, done.stderr


@pytest.mark.kernel
def test_latency(run_osmia):
    done = run_osmia(
        "run", example("latency"), "--json", "--", "dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=500"
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    dd = next(row for row in rows if row.get("histogram") == "reads[dd]")
    assert 500 <= sum(bucket["count"] for bucket in dd["buckets"]) < 520, done.stderr


@pytest.mark.kernel
def test_callback_and_its_option(run_osmia):
    script = "import os; r,w = os.pipe(); os.write(w, b'x'*10); os.write(w, b'x'*77)"
    done = run_osmia("run", example("callback"), "--least", "50", "--", sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr
    assert "writes 77 bytes" in done.stdout
    assert "writes 10 bytes" not in done.stdout


@pytest.mark.kernel
def test_drop(run_osmia):
    import importlib.util

    spec = importlib.util.spec_from_file_location("drop_example", example("drop"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    ethernet = bytes(12) + b"\x08\x00"
    ip = bytes([0x45]) + bytes(8) + bytes([17]) + bytes(10)
    with module.prog.open(attach=False, settings={"port": 53}):
        run = module.prog.block.test_run
        assert run(ethernet + ip + bytes([0, 1, 0, 53, 0, 8, 0, 0]) + bytes(20)).retval == 1
        assert run(ethernet + ip + bytes([0, 1, 0, 54, 0, 8, 0, 0]) + bytes(20)).retval == 2
        assert run(bytes(64)).retval == 2
        assert module.dropped.value == 1


@pytest.mark.kernel
def test_tasks(run_osmia):
    child = subprocess.Popen(["sleep", "20"])
    try:
        done = run_osmia("run", example("tasks"))
    finally:
        child.kill()
        child.wait()
    assert done.returncode == 0, done.stderr
    assert any(line.split()[0] == str(child.pid) and line.split()[2] == "sleep" for line in done.stdout.splitlines())
