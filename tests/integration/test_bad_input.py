"""Bad input of every kind that a user can give to the command: a clear error, nothing half attached, nothing lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HEAD = """from osmia import Char, Program, TracepointArgs, comm, pid, u32, u64

prog = Program("bad")
counts = prog.hash(u32, u64)


@prog.tracepoint("syscalls:sys_enter_openat")
def enter(args: TracepointArgs) -> None:
"""


def program(tmp_path, body, head=HEAD):
    path = tmp_path / "bad.py"
    path.write_text(head + "".join(f"    {line}\n" for line in body.splitlines()))
    return str(path)


def refused(done, code, status=1):
    """The run failed with one coded error and no traceback."""
    assert "Traceback" not in done.stderr
    assert f"[{code}]" in done.stderr, done.stderr
    assert done.returncode == status
    assert "hint:" in done.stderr


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x = 1\n", "RUN025"),
        ("def f(:\n", "RUN023"),
        ("\0\1\2", "RUN023"),
        ("import no_such_module_at_all\n", "RUN024"),
    ],
)
def test_a_file_that_is_not_a_program(run_osmia, tmp_path, text, code):
    path = tmp_path / "file.py"
    path.write_text(text)
    refused(run_osmia("run", str(path)), code)


def test_binary_garbage_as_a_program_file(run_osmia, tmp_path):
    path = tmp_path / "file.py"
    path.write_bytes(bytes(range(256)) * 4)
    refused(run_osmia("run", str(path)), "RUN023")


def test_a_file_that_does_not_exist(run_osmia):
    refused(run_osmia("run", "/no/such/file.py"), "RUN022", 2)


def test_a_tool_that_does_not_exist(run_osmia):
    done = run_osmia("run", "opensnop")
    refused(done, "RUN021", 2)
    assert "opensnoop" in done.stderr


@pytest.mark.kernel
def test_a_probe_that_does_not_exist_suggests_the_nearest(run_osmia, tmp_path):
    head = HEAD.replace("syscalls:sys_enter_openat", "syscalls:sys_enter_opennat")
    done = run_osmia("run", program(tmp_path, "counts[pid()] += 1", head))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "did you mean openat" in done.stderr
    head = HEAD.replace("syscalls:sys_enter_openat", "sched:sched_swich")
    done = run_osmia("run", program(tmp_path, "counts[pid()] += 1", head))
    assert done.returncode == 1
    assert "sched_switch" in done.stderr


def test_a_field_that_does_not_exist_lists_the_fields(run_osmia, tmp_path):
    done = run_osmia("check", "--no-load", program(tmp_path, "counts[pid()] = u64(args.filname)"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "filename" in done.stderr
    assert "args.filname" in done.stderr, "the excerpt shows the line"


def test_a_type_mismatch(run_osmia, tmp_path):
    done = run_osmia("check", "--no-load", program(tmp_path, "counts[comm()] = 1"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "^" in done.stderr


@pytest.mark.parametrize(
    "body",
    [
        "yield 1",
        "raise ValueError()",
        "try:\n    pass\nexcept ValueError:\n    pass",
        "x = 1.5",
        "f = lambda: 1",
        "del pid",
        "import os",
    ],
)
def test_an_unsupported_statement(run_osmia, tmp_path, body):
    done = run_osmia("check", "--no-load", program(tmp_path, body))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "error[PY" in done.stderr
    assert "bad.py:" in done.stderr


def test_several_errors_are_told_in_one_run(run_osmia, tmp_path):
    second = """
@prog.tracepoint("syscalls:sys_enter_read")
def other(args: TracepointArgs) -> None:
    counts[comm()] = 1
"""
    path = tmp_path / "bad.py"
    path.write_text(HEAD + "    x = 1.5\n" + second)
    done = run_osmia("check", "--no-load", str(path))
    assert done.returncode == 1
    assert done.stderr.count("error[") >= 2


@pytest.fixture
def built(run_osmia, tmp_path):
    """A good object file."""
    target = tmp_path / "good.bpf.o"
    done = run_osmia("build", program(tmp_path, "counts[pid()] += 1"), "-o", str(target))
    assert done.returncode == 0, done.stderr
    return target


def test_a_truncated_elf(run_osmia, built):
    data = built.read_bytes()
    for size in (0, 3, 20, 64, len(data) // 2, len(data) - 1):
        built.write_bytes(data[:size])
        done = run_osmia("check", "--no-load", str(built))
        assert done.returncode == 1, size
        assert "Traceback" not in done.stderr
        assert "error[" in done.stderr


def test_corrupted_btf(run_osmia, built):
    data = bytearray(built.read_bytes())
    at = data.find(b"\x9f\xeb\x01")
    assert at > 0
    data[at + 12 : at + 20] = b"\xff" * 8
    built.write_bytes(bytes(data))
    done = run_osmia("check", "--no-load", str(built))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "error[BTF" in done.stderr or "error[OBJ" in done.stderr


@pytest.mark.kernel
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare")
def test_a_full_disk_for_the_cache(osmia_command, tmp_path):
    """The cache lies on a full file system of the test's own; the program runs all the same."""
    path = program(tmp_path, "counts[pid()] += 1")
    script = (
        'mount -t tmpfs -o size=16k tmpfs "$1" && dd if=/dev/zero of="$1/fill" bs=1k count=64 2>/dev/null; '
        'shift; OSMIA_CACHE_DIR="$0/osmia" exec "$@"'
    )
    folder = tmp_path / "full"
    folder.mkdir()
    words = ["unshare", "--mount", "sh", "-c", script, str(folder), str(folder)]
    done = subprocess.run(
        [*words, *osmia_command, "run", path, "-v", "--", "true"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "cannot write the cache" in done.stderr or "cache is not used" in done.stderr


@pytest.mark.kernel
def test_a_cache_from_another_version_is_not_used(run_osmia, tmp_path):
    path = program(tmp_path, "counts[pid()] += 1")
    assert run_osmia("run", path, "--", "true").returncode == 0
    spoiled = 0
    for folder, _, names in os.walk(tmp_path / "cache"):
        for name in names:
            entry = os.path.join(folder, name)
            with open(entry, "r+b") as file:
                if file.read(5) == b"OSMIA":
                    file.seek(0)
                    file.write(b"OSMIA\0\0\n")
                    spoiled += 1
    assert spoiled >= 2
    done = run_osmia("run", path, "-v", "--", "true")
    assert done.returncode == 0, done.stderr
    assert "program from: compiled" in done.stderr
    again = run_osmia("run", path, "-v", "--", "true")
    assert "program from: cache" in again.stderr


@pytest.mark.kernel
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its user")
def test_two_users_at_once(osmia_command, tmp_path):
    """Another user's cache entries are not used by root, and neither run disturbs the other."""
    path = program(tmp_path, "counts[pid()] += 1")
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    environment = {**os.environ, "OSMIA_CACHE_DIR": str(shared)}
    words = [*osmia_command, "run", path, "-v", "--", "true"]
    children = [
        subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for child in children:
        _, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors
        assert "written by others" in errors
    assert list(shared.iterdir()) == []


def test_unknown_option_and_wrong_values(run_osmia):
    refused(run_osmia("run", "opensnoop", "--no-such-option"), "RUN004", 2)
    refused(run_osmia("run", "opensnoop", "--pid", "0"), "RUN004", 2)
    refused(run_osmia("run", "opensnoop", "--"), "RUN004", 2)


@pytest.mark.kernel
def test_a_process_that_does_not_exist(run_osmia):
    refused(run_osmia("run", "opensnoop", "--pid", "4194303"), "RUN005", 2)


@pytest.mark.kernel
def test_a_command_that_does_not_exist(run_osmia):
    refused(run_osmia("run", "opensnoop", "--", "no-such-command-here"), "RUN001")


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv")
def test_without_permission_it_says_what_is_missing(tmp_path, root):
    """As a user without capabilities: the error names what is missing and the exit code says so."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        _check_without_permission(program(Path(folder), "counts[pid()] += 1"), root)


def _check_without_permission(path, root):
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from osmia.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    probe = subprocess.run(
        [*words, sys.executable, "-c", "import osmia.cli.main"], capture_output=True, text=True, check=False, cwd="/"
    )
    if probe.returncode:
        pytest.skip("the checkout cannot be read by another user here")
    done = subprocess.run(
        [*words, sys.executable, "-c", code, str(root / "src"), "run", path],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 3, done.stderr
    assert "CAP_BPF" in done.stderr
