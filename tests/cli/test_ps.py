"""``osmia ps``. These tests look at programs that they loaded themselves, and at nothing else."""

import json
import os
import threading
import time

import pytest

from osmia.cli.commands import ps
from osmia.cli.main import main

pytestmark = pytest.mark.kernel

OWN = ["--pid", str(os.getpid())]


def rows_of(capsys, *words):
    assert main(["ps", *OWN, "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_program_with_its_owner(loaded, capsys):
    found = rows_of(capsys)
    assert list(found) == ["programs"]
    (row,) = [row for row in found["programs"] if row["id"] == loaded.programs["cli_count"].id]
    assert (row["name"], row["kind"]) == ("cli_count", "xdp")
    assert {"pid": os.getpid(), "comm": row["owners"][0]["comm"]} in row["owners"]
    assert row["map_ids"] == [loaded.maps["cli_runs"].info().id]
    assert row["xlated_size"] > 0 and row["attached"] == [] and row["pins"] == []
    assert abs(row["loaded_at"] - time.time()) < 60


def test_maps_and_links(loaded, capsys):
    found = rows_of(capsys, "--all", "--name", "cli_")
    assert list(found) == ["programs", "maps", "links"]
    (row,) = [row for row in found["maps"] if row["id"] == loaded.maps["cli_runs"].info().id]
    assert (row["name"], row["kind"], row["key_size"], row["value_size"], row["max_entries"]) == (
        "cli_runs", "hash", 4, 8, 4,
    )  # fmt: skip
    assert rows_of(capsys, "--maps", "--name", "no such map")["maps"] == []


def test_pins_are_shown(loaded, bpffs, capsys):
    loaded.programs["cli_count"].pin(str(bpffs / "counted"))
    (row,) = [row for row in rows_of(capsys)["programs"] if row["id"] == loaded.programs["cli_count"].id]
    assert str(bpffs / "counted") in row["pins"]


def test_statistics(loaded, capsys):
    program = loaded.programs["cli_count"]

    def work():
        # Spread over the whole time: the counting may begin late on a busy machine.
        end = time.monotonic() + 1.2
        while time.monotonic() < end:
            program.test_run(bytes(64), repeat=50)
            time.sleep(0.01)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        found = rows_of(capsys, "--stats", "0.6")
    finally:
        worker.join()
    (row,) = [row for row in found["programs"] if row["id"] == program.id]
    assert row["run_count"] >= 50 and row["run_time_ns"] > 0
    assert row["run_ns"] == pytest.approx(row["run_time_ns"] / row["run_count"], abs=0.06)


def test_text(loaded, capsys):
    assert main(["ps", *OWN, "--all", "--name", "cli_"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Programs\n") and "\nMaps\n" in text and "\nLinks\nno links\n" in text
    (line,) = [line for line in text.splitlines() if f" {loaded.programs['cli_count'].id} " in f" {line} "]
    assert f"({os.getpid()})" in line and " xdp " in line


def test_nothing_of_that_name(capsys):
    assert main(["ps", "--name", "there is no program like this"]) == 0
    assert capsys.readouterr().out == "no programs\n"


@pytest.mark.parametrize("words", [["--sort", "size"], ["--stats", "0"], ["--stats", "soon"], ["--pid", "me"]])
def test_bad_arguments(words, capsys):
    assert main(["ps", *words]) == 2
    assert "error[CLI002]" in capsys.readouterr().err


def test_sorting():
    rows = [
        {"id": 1, "kind": "xdp", "name": "b", "run_time_ns": 5, "run_count": 1, "run_ns": 5.0, "memory": 1},
        {"id": 2, "kind": "kprobe", "name": "a", "run_time_ns": 9, "run_count": 9, "run_ns": 1.0, "memory": 9},
        {"id": 3, "kind": "xdp", "name": "", "run_time_ns": 0, "run_count": 0, "run_ns": None, "memory": 5},
    ]

    def order(key):
        return [row["id"] for row in sorted(rows, key=lambda row: ps._sort_key(row, key))]

    assert order("id") == [1, 2, 3]
    assert order("name") == [3, 2, 1]
    assert order("type") == [2, 1, 3]
    assert order("time") == order("runs") == [2, 1, 3]
    assert order("mean") == [1, 2, 3]
    assert order("memory") == [2, 3, 1]


def test_sizes():
    assert [ps._size(count) for count in (0, 1, 999, 1024, 10 << 10, 3 << 20, 5 << 30)] == [
        "-", "1", "999", "1.0K", "10K", "3.0M", "5.0G",
    ]  # fmt: skip


def test_where_a_program_is_attached(tmp_path, capsys):
    from osmia.runtime.programs import find_program

    path = tmp_path / "attached.py"
    path.write_text(
        "from osmia import Program, TracepointArgs, u64\n"
        "prog = Program('attached')\n"
        "calls = prog.var(u64, 0)\n"
        "@prog.tracepoint('syscalls:sys_enter_getppid')\n"
        "def cli_attached(args: TracepointArgs) -> None:\n"
        "    calls.value += 1\n"
    )
    program = find_program(str(path))
    with program.open(pid=os.getpid(), cache=False, include_self=True):
        found = rows_of(capsys, "--all")
        (row,) = [row for row in found["programs"] if row["name"] == "cli_attached"]
        assert any("sys_enter_getppid" in place for place in row["attached"]), row["attached"]
        (link,) = [link for link in found["links"] if link["prog_id"] == row["id"]]
        assert (
            link["program"] == "cli_attached"
            and {"pid": os.getpid(), "comm": link["owners"][0]["comm"]} in link["owners"]
        )
    assert not [row for row in rows_of(capsys)["programs"] if row["name"] == "cli_attached"]
