"""Held commands: nothing runs before the release, and nothing stays after the close."""

import os
import signal

import pytest

from osmia.diagnostics import RunError
from osmia.runtime.command import HeldCommand


def test_it_waits_for_the_release(tmp_path):
    mark = tmp_path / "mark"
    command = HeldCommand(["touch", str(mark)])
    try:
        assert command.poll() is None
        assert not mark.exists()
        command.release()
        assert command.poll(block=True) == 0
        assert mark.exists()
    finally:
        command.close()


@pytest.mark.parametrize(("argv", "status"), [(["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -9 $$"], 137)])
def test_exit_status(argv, status):
    command = HeldCommand(argv)
    command.release()
    assert command.poll(block=True) == status
    command.close()


def test_unknown_command():
    with pytest.raises(RunError) as caught:
        HeldCommand(["no-such-command-here"])
    assert caught.value.code == "RUN001"


def test_a_file_that_cannot_be_executed(tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    command = HeldCommand([str(script)])
    with pytest.raises(RunError) as caught:
        command.release()
    assert caught.value.code == "RUN002"
    command.close()


def test_close_before_release_ends_the_child(tmp_path):
    mark = tmp_path / "mark"
    command = HeldCommand(["touch", str(mark)])
    command.close()
    assert command.status == 128 + signal.SIGKILL
    assert not mark.exists()


def test_close_ends_a_running_child():
    command = HeldCommand(["sleep", "60"])
    command.release()
    pid = command.pid
    command.close()
    assert command.status == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_no_descriptors_leak():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        command = HeldCommand(["true"])
        command.release()
        command.poll(block=True)
        command.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_its_output_can_go_elsewhere(capfd):
    command = HeldCommand(["echo", "hello"], stdout=2)
    command.release()
    assert command.poll(block=True) == 0
    command.close()
    out, errors = capfd.readouterr()
    assert (out, errors) == ("", "hello\n")
