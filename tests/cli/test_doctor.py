"""``osmia doctor``: what it says, its exit code, and what it cleans up."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from osmia.cli.main import main
from osmia.kernel import journal

AREAS = {"software", "right", "setting", "kernel", "hook", "program type", "map type", "helper", "feature"}

LEAVE_A_PIN = """
import os, sys
from osmia.isa.assembler import assemble
from osmia.isa.instruction import encode_program
from osmia.kernel import journal
from osmia.kernel.load import load
from osmia.object.spec import CollectionSpec, ProgramSpec
journal.folder = lambda: sys.argv[1]
spec = CollectionSpec("left")
spec.programs["cli_left"] = ProgramSpec("cli_left", "xdp", 6, encode_program(assemble("r0 = 2\\nexit")))
live = load(spec)
live.programs["cli_left"].pin(sys.argv[2], temporary=True)
os._exit(0)
"""


def no_permission(*words):
    return subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-m", "osmia", *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


needs_setpriv = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv to give permissions up"
)


@pytest.mark.kernel
def test_text(capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Osmia ") and f"Linux {os.uname().release}" in text
    assert "\nPrograms can be run here.\n" in text
    for title in ("Software", "Rights", "Kernel", "Hooks", "Program types", "Map types", "Helpers", "Features"):
        assert f"\n{title}: " in text
    assert "percpu_hash" not in text


@pytest.mark.kernel
def test_everything(capsys):
    assert main(["doctor", "--all"]) == 0
    text = capsys.readouterr().out
    assert "percpu_hash" in text and "get_smp_processor_id" in text and "socket_filter" in text and "Settings" in text


@pytest.mark.kernel
def test_json_agrees_with_the_tables(capsys):
    from osmia.abi.helpers import helpers
    from osmia.abi.map_types import map_types
    from osmia.abi.prog_types import prog_types

    assert main(["doctor", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["can_run"] is True and data["why_not"] is None
    assert data["kernel"] == os.uname().release
    rows = data["rows"]
    assert {row["area"] for row in rows} == AREAS
    assert {row["status"] for row in rows} <= {"yes", "no", "forbidden", "unknown"}
    names = {area: {row["name"] for row in rows if row["area"] == area} for area in AREAS}
    assert names["helper"] == {row.name for row in helpers()}
    assert names["map type"] == {row.name for row in map_types() if row.number}
    assert names["program type"] == {row.name for row in prog_types() if row.number}
    assert sum(data["tracepoints"].values()) > 0 and data["tracepoints"].get("syscalls", 1) > 0
    assert all(row["remedy"] for row in rows if row["status"] != "yes")


@pytest.mark.kernel
def test_its_answers_are_true(capsys):
    """What it says is there can be made, by the loader that programs use."""
    from osmia.kernel.create import create_map
    from osmia.object.spec import MapSpec

    assert main(["doctor", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    there = {row["name"] for row in rows if row["area"] == "map type" and row["status"] == "yes"}
    for kind in ("hash", "array", "percpu_hash", "queue"):
        assert kind in there
        key = 0 if kind == "queue" else 4
        create_map(MapSpec("cli_probe", kind, key_size=key, value_size=8, max_entries=2)).close()


@needs_setpriv
def test_without_rights():
    done = no_permission("doctor", "--json")
    assert done.returncode == 3, done.stderr
    data = json.loads(done.stdout)
    assert data["can_run"] is False and "CAP_BPF" in data["why_not"]
    rights = {row["name"]: row["status"] for row in data["rows"] if row["area"] == "right"}
    assert rights["CAP_BPF"] == "no"
    text = no_permission("doctor")
    assert text.returncode == 3
    assert "\nPrograms cannot be run here: " in text.stdout and "\nSettings: " in text.stdout


# -- what ended runs left ----------------------------------------------------------------------------------------------


@pytest.mark.kernel
def test_cleaning(bpffs, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "journal"
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(journal, "folder", lambda: str(folder))
    pin = bpffs / "left"
    subprocess.run([sys.executable, "-c", LEAVE_A_PIN, str(folder), str(pin)], check=True)
    assert pin.exists()
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["left_behind"] == [f"pin {pin}"]
    assert main(["doctor", "--clean", "--json"]) == 0
    cleaned = json.loads(capsys.readouterr().out)["cleaned"]
    assert cleaned == [{"what": f"pin {pin}", "removed": True, "problem": None}]
    assert not pin.exists() and not list(folder.iterdir())
    assert main(["doctor", "--clean"]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"


@pytest.mark.kernel
def test_what_a_living_process_made_stays(bpffs, tmp_path, monkeypatch, capsys, loaded):
    folder = tmp_path / "journal"
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(journal, "folder", lambda: str(folder))
    pin = bpffs / "mine"
    loaded.programs["cli_count"].pin(str(pin), temporary=True)
    assert main(["doctor", "--clean"]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"
    assert pin.exists()
