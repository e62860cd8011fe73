"""The command as a whole: start-up, help, exit codes, errors, pipes, colours."""

import json
import os
import pty
import shutil
import statistics
import subprocess
import sys

import pytest

from osmia.cli import main as cli
from osmia.diagnostics import (
    AttachError,
    CompileError,
    LoadError,
    PermissionMissing,
    RunError,
    UnsupportedFeature,
    UsageError,
)

HEAVY = ("numpy", "llvmlite", "elftools", "rich", "asyncio", "click", "inspect", "dataclasses", "logging", "subprocess")


def modules_after(code):
    """The modules that a fresh interpreter has loaded after running ``code``."""
    script = f"import sys, io, json\n{code}\nsys.__stdout__.write(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


# -- start-up ----------------------------------------------------------------------------------------------------------


def test_import_loads_almost_nothing():
    loaded = modules_after("import osmia")
    assert not loaded.intersection(HEAVY)
    assert {name for name in loaded if name.startswith("osmia.")} == set()


def test_help_loads_no_heavy_module():
    loaded = modules_after("sys.stdout = io.StringIO()\nfrom osmia.cli.main import main\nassert main(['--help']) == 0")
    assert not loaded.intersection(HEAVY)
    assert not any(name.startswith("osmia.cli.commands") for name in loaded)


@pytest.mark.parametrize("words", [["tools"], ["tools", "opensnoop"], ["explain", "CLI001"], ["completion", "bash"]])
def test_light_commands_stay_light(words):
    loaded = modules_after(f"sys.stdout = io.StringIO()\nfrom osmia.cli.main import main\nassert main({words}) == 0")
    assert not loaded.intersection(("numpy", "llvmlite", "elftools", "rich"))


def test_import_is_quick():
    """``import osmia`` takes at most 40 ms more than a Python that imports nothing; a busy machine gets some slack."""
    code = "import time; t = time.perf_counter(); import osmia; print(time.perf_counter() - t)"
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(9)
    ]
    assert statistics.median(times) < 0.040


# -- help and usage ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help_lists_every_command(run_osmia, word):
    done = run_osmia(word)
    assert done.returncode == 0 and not done.stderr
    for name, summary in cli.COMMANDS.items():
        assert f"  {name} " in done.stdout and summary in done.stdout


def test_no_arguments_is_help(run_osmia):
    assert run_osmia().stdout == run_osmia("--help").stdout


def test_version(run_osmia):
    from osmia.version import VERSION

    assert run_osmia("--version").stdout == f"osmia {VERSION}\n"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(name, capsys):
    try:
        status = cli.main([name, "--help"])
    except SystemExit as stop:
        status = stop.code
    shown = capsys.readouterr().out
    assert status == 0
    assert shown.startswith(f"usage: osmia {name}")


@pytest.mark.parametrize("words", [
    ["tools"], ["demo"], ["check", "x"], ["build", "x"], ["disasm", "x"], ["ps"], ["doctor"], ["explain"],
    ["completion", "bash"],
])  # fmt: skip
def test_options_that_do_not_exist_are_refused(words, capsys):
    assert cli.main([*words, "--no-such-option"]) == 2
    shown = capsys.readouterr()
    assert "CLI002" in shown.err and "--no-such-option" in shown.err and f"osmia {words[0]} --help" in shown.err
    assert not shown.out


def test_long_options_are_not_abbreviated(capsys):
    assert cli.main(["tools", "--js"]) == 2
    assert "CLI002" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("exlpain", "did you mean 'explain'?"),
        ("tool", "did you mean 'tools'?"),
        ("dissasm", "did you mean 'disasm'?"),
        ("xyzzy", "osmia --help lists the commands"),
        ("opens.py", "to run a program file: osmia run opens.py"),
        ("opensnoop", "to run the tool: osmia run opensnoop"),
    ],
)
def test_unknown_commands(word, hint, capsys):
    assert cli.main([word]) == 2
    shown = capsys.readouterr().err
    assert "error[CLI001]" in shown and f"'{word}'" in shown and hint in shown


# -- exit codes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("CLI002", "x"), 2),
        (PermissionMissing("KRN001", "x"), 3),
        (UnsupportedFeature("KRN010", "x"), 4),
        (CompileError("PY101", "x"), 1),
        (AttachError("HOOK001", "x"), 1),
        (LoadError("KRN010", "x"), 1),
        (RunError("RUN001", "x"), 1),
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(), 0),
    ],
)
def test_exit_codes(error, status, monkeypatch, capsys):
    def fail(name, words):
        raise error

    monkeypatch.setattr(cli, "_dispatch", fail)
    saved = os.dup(1)  # a broken pipe ends with standard output on /dev/null
    try:
        assert cli.main(["ps"]) == status
    finally:
        os.dup2(saved, 1)
        os.close(saved)
    assert ("error[" in capsys.readouterr().err) == (status not in (0, 130))


def test_details_are_shown_on_demand(monkeypatch, capsys):
    def fail(name, words):
        raise LoadError("KRN010", "refused", details="line one\nline two")

    monkeypatch.setattr(cli, "_dispatch", fail)
    assert cli.main(["check", "x"]) == 1
    assert "line two" not in capsys.readouterr().err
    assert cli.main(["check", "x", "--verbose"]) == 1
    assert "line two" in capsys.readouterr().err


def test_refused_input_is_status_1(run_osmia, tmp_path):
    broken = tmp_path / "broken.bpf.o"
    broken.write_bytes(b"no object at all")
    done = run_osmia("disasm", str(broken))
    assert done.returncode == 1
    assert "error[OBJ" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give permissions up")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (util-linux)")
def test_missing_permission_is_status_3():
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-m", "osmia", "ps"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "error[KRN001]" in done.stderr and "CAP_SYS_ADMIN" in done.stderr and not done.stdout


# -- pipes and terminals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", ["tools", "explain", "completion bash", "tools opensnoop", "--help", "explain CLI001"]
)
def test_a_closed_pipe_is_quiet(words):
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -m osmia {words} | head -0; echo "${{PIPESTATUS[0]}}"'],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout in ("0\n", "141\n")


def on_terminal(*words, **settings):
    """What a command writes to a terminal of 100 columns."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40", **settings}
    if "NO_COLOR" not in settings:
        environment.pop("NO_COLOR", None)
    child = subprocess.Popen(
        [sys.executable, "-m", "osmia", *words], stdout=follower, stderr=follower, env=environment, close_fds=True
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            chunk = os.read(leader, 1 << 16)
        except OSError:
            break
        if not chunk:
            break
        shown += chunk
    os.close(leader)
    assert child.wait(timeout=30) is not None
    return shown.decode()


@pytest.mark.parametrize("words", [("explain", "CLI001"), ("tools",), ("tools", "opensnoop"), ("nonsense",)])
def test_colours_are_for_terminals_that_want_them(words, run_osmia):
    assert "\x1b[" in on_terminal(*words)
    assert "\x1b[" not in on_terminal(*words, NO_COLOR="1")
    piped = run_osmia(*words, env={"NO_COLOR": ""})
    assert "\x1b[" not in piped.stdout + piped.stderr


def test_output_that_the_encoding_lacks_is_escaped():
    done = subprocess.run(
        [sys.executable, "-c", "from osmia.cli.screen import write; write('caf\\u00e9 \\u2192\\n')"],
        capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=True,
    )  # fmt: skip
    assert done.stdout == b"caf\\xe9 \\u2192\n"
