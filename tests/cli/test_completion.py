"""Completion scripts: they parse, and complete what the parsers know."""

import shutil
import subprocess

import pytest

from osmia.cli import complete
from osmia.cli.main import COMMANDS, main
from osmia.cli.shells import SHELLS, script
from osmia.runtime.programs import tool_names

ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
_osmia
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory):
    path = tmp_path_factory.mktemp("completion") / "osmia.bash"
    path.write_text(script("bash"))
    return path


@pytest.fixture
def completed(bash_script, tmp_path):
    """What bash offers for a command line whose last word is being typed."""
    for name in ("opens.py", "opens.bpf.o", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()

    def ask(*words):
        done = subprocess.run(
            ["bash", "--norc", "-c", ASK, "ask", str(bash_script), *words],
            capture_output=True, text=True, check=True, cwd=tmp_path,
        )  # fmt: skip
        assert done.stderr == ""
        return done.stdout.split()

    return ask


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_the_script(shell, capsys):
    assert main(["completion", shell]) == 0
    assert capsys.readouterr().out == script(shell)


def test_unknown_shell(capsys):
    assert main(["completion", "tcsh"]) == 2
    assert "CLI002" in capsys.readouterr().err


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_parses(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "script"
    path.write_text(script(shell))
    done = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ""


def test_commands(completed):
    assert set(completed("osmia", "")) == {*COMMANDS, "--help", "--version"}
    assert completed("osmia", "ex") == ["explain"]


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "run"])
def test_every_option_of_every_command(completed, name):
    command = next(each for each in complete.commands() if each.name == name)
    assert set(completed("osmia", name, "-")) == {flag for option in command.options for flag in option.flags}


def test_targets_of_run(completed):
    assert set(completed("osmia", "run", "")) == {*tool_names(), "opens.py", "opens.bpf.o", "folder"}
    assert completed("osmia", "run", "opens") == ["opens.py", "opens.bpf.o", "opensnoop"] or set(
        completed("osmia", "run", "opens")
    ) == {"opens.py", "opens.bpf.o", "opensnoop"}
    assert "notes.txt" not in completed("osmia", "run", "n")


def test_options_of_a_tool(completed):
    offered = completed("osmia", "run", "opensnoop", "--")
    assert {"--failed", "--user", "--pid", "--json", "--duration"} <= set(offered)
    other = completed("osmia", "run", "execsnoop", "--")
    assert "--failed" not in other and "--pid" in other
    assert completed("osmia", "run", "opensnoop", "--json", "--dur") == ["--duration"]


def test_the_traced_command(completed):
    assert "cat" in completed("osmia", "run", "opensnoop", "--", "cat")
    assert completed("osmia", "run", "opensnoop", "--json", "--", "cat", "note") == ["notes.txt"]


def test_values(completed):
    assert completed("osmia", "ps", "--sort", "na") == ["name"]
    assert "lo" in completed("osmia", "run", "xdpcount", "--interface", "lo")
    assert "1" in completed("osmia", "run", "opensnoop", "--pid", "1")
    assert set(completed("osmia", "build", "opensnoop", "--output", "")) == {
        "opens.py",
        "opens.bpf.o",
        "notes.txt",
        "folder",
    }
    assert completed("osmia", "run", "opensnoop", "--duration", "") == []


def test_arguments(completed):
    assert completed("osmia", "explain", "CLI00") == ["CLI001", "CLI002", "CLI003"]
    assert completed("osmia", "completion", "z") == ["zsh"]
    assert completed("osmia", "tools", "sysc") == ["syscount"]
    assert completed("osmia", "tools", "opensnoop", "sysc") == []
    assert "opens.bpf.o" in completed("osmia", "disasm", "--program", "x", "opens.b")
    assert "opens.py" in completed("osmia", "check", "opensnoop", "opens.p")


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("osmia exp", "explain"),
        ("osmia run opensn", "opensnoop"),
        ("osmia run opensnoop --fai", "--failed"),
        ("osmia explain CLI00", "CLI001"),
        ("osmia ps --sort na", "name"),
    ],
)
def test_fish(tmp_path, line, wanted):
    path = tmp_path / "osmia.fish"
    path.write_text(script("fish"))
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source {path}; complete -C '{line}'"],
        capture_output=True, text=True, check=True, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert wanted in [row.split("\t")[0] for row in done.stdout.splitlines()]
