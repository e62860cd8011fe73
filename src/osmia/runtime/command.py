"""A child command that starts held, so that it can be traced from its first instruction."""

from __future__ import annotations

import os
import signal

from osmia.diagnostics import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class HeldCommand:
    """A forked child that waits for :meth:`release` before it becomes the command.

    :ivar pid: the child's process id.
    :ivar status: its exit status as a shell counts (128 + signal), ``None`` while it runs.
    """

    def __init__(self, argv: Sequence[str], stdout: int = 1) -> None:
        """Forks the child; raises ``RunError`` (RUN001) when the command cannot be found.

        :param stdout: descriptor that becomes the command's standard output.
        """
        self.argv = list(argv)
        self.status: int | None = None
        path = _find(self.argv[0])
        hold, self._go = os.pipe2(os.O_CLOEXEC)
        self._failure, failure = os.pipe2(os.O_CLOEXEC)
        self.pid = os.fork()
        if self.pid == 0:
            _become(path, self.argv, hold, self._go, failure, stdout)
        os.close(hold)
        os.close(failure)
        self.pidfd = os.pidfd_open(self.pid)

    def release(self) -> None:
        """Lets the child run its command; raises ``RunError`` (RUN002) when that fails in the child."""
        os.write(self._go, b"\n")
        os.close(self._go)
        self._go = -1
        message = os.read(self._failure, 16)
        if message:
            number = int(message)
            self.poll(block=True)
            raise RunError(
                "RUN002",
                f"cannot run {self.argv[0]}: {os.strerror(number)}",
                hint="check that the file is executable and its interpreter exists",
            )

    def poll(self, block: bool = False) -> int | None:
        """The exit status once the child has ended; with ``block`` waits for it."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, 0 if block else os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self.status = 128 - code if code < 0 else code
        return self.status

    def close(self) -> None:
        """Ends the child if it still runs (SIGTERM, then SIGKILL after two seconds) and frees the descriptors."""
        if self.poll() is None:
            self._end()
        for name in ("_go", "_failure", "pidfd"):
            descriptor = getattr(self, name, -1)
            if descriptor >= 0:
                os.close(descriptor)
                setattr(self, name, -1)

    def _end(self) -> None:
        import select

        signal.pidfd_send_signal(self.pidfd, signal.SIGKILL if self._go >= 0 else signal.SIGTERM)
        if not select.select([self.pidfd], [], [], 2.0)[0]:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        self.poll(block=True)


def _find(name: str) -> str:
    if "/" in name:
        if os.path.exists(name):
            return name
    else:
        for folder in os.get_exec_path():
            path = os.path.join(folder, name)
            if os.path.isfile(path) and os.access(path, os.X_OK):
                return path
    raise RunError("RUN001", f"command not found: {name}", hint="give a path, or a name that is in PATH")


def _become(path: str, argv: list[str], hold: int, go: int, failure: int, stdout: int) -> None:
    """In the child: waits for the byte, then executes. Never returns."""
    try:
        os.close(go)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        if not os.read(hold, 1):
            os._exit(0)  # the parent has gone: the command was never to run
        if stdout != 1:
            os.dup2(stdout, 1)
        os.execve(path, argv, os.environ)
    except OSError as error:
        os.write(failure, str(error.errno).encode())
    finally:
        os._exit(127)
