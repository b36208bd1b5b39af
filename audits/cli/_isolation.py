"""`--isolate`: the command runs in a child process, and counts only if the child hands its exit code over.

Whatever ends the child otherwise is no verdict: `os._exit(0)` in the target, a crash of native code, the memory
killer. Once the code is handed over, threads that stay and what `atexit` runs change nothing any more. The parent
loads no target and no torch. It is not a sandbox: the target has the rights of the user, in the child.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

from audits.cli._exits import CANNOT_RUN, FOUND, INTERRUPTED, OK, UNDECIDED, CommandError

VARIABLE = "HUBROUTER_AUDIT_HANDOVER"  # the descriptor of the child's end
PATIENCE = 60.0  # seconds beyond twice the budget, as for what runs in this process (`_waiting.py`)
FAREWELL = 5.0  # seconds that the child may take to end once it has handed over; our choice
_CODES = (OK, FOUND, CANNOT_RUN, UNDECIDED, INTERRUPTED)
_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from audits.__main__ import main; sys.exit(main())"
)


def isolated(arguments: Sequence[str], options: argparse.Namespace) -> int:
    """Run the command line in a child; the exit code that it hands over, CommandError where it ends without."""
    budget: float | None = getattr(options, "budget", None)
    ours, theirs = socket.socketpair()
    nonce = secrets.token_hex(16)
    ours.sendall(f"{nonce}\n".encode())
    environment = os.environ | {VARIABLE: str(theirs.fileno())}
    command = [sys.executable, "-c", _CHILD, json.dumps(sys.path), *arguments]
    with ours, subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()]) as child:  # noqa: S603 - ourselves
        theirs.close()
        try:
            code = _received(ours, nonce, None if budget is None else 2 * budget + PATIENCE)
            return code if code is not None else _without_verdict(child)
        except KeyboardInterrupt:  # which the terminal has sent to the child, too
            if _received(ours, nonce, FAREWELL) == INTERRUPTED:
                return INTERRUPTED
            raise
        finally:
            _end(child)


class Handover:
    """The child's end: made before the target is loaded, used once the command has ended."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._nonce = self._socket.makefile("r", encoding="ascii").readline().strip()
        self._process = os.getpid()
        threading.Thread(target=self._end_with_parent, daemon=True).start()

    def give(self, code: int) -> None:
        """Hand the exit code over; a process that the target forked has none to give."""
        if os.getpid() == self._process:
            self._socket.sendall(f"{self._nonce} {code}\n".encode())

    def _end_with_parent(self) -> None:
        """The parent keeps its end open until this process has ended, unless it is killed."""
        with suppress(OSError):
            self._socket.recv(1)
        os._exit(CANNOT_RUN)


def handover() -> Handover | None:
    """Where this process is such a child: its end, which nothing that it starts inherits."""
    descriptor = os.environ.pop(VARIABLE, "")
    return Handover(int(descriptor)) if descriptor.isdecimal() else None


def _received(ours: socket.socket, nonce: str, seconds: float | None) -> int | None:
    """The code that the child handed over; None where its end was closed first, CommandError where nothing came."""
    ours.settimeout(seconds)
    try:
        given = ours.makefile("r", encoding="ascii", errors="replace").readline().split()
    except TimeoutError:
        raise CommandError("the budget ran out, and the target cannot be stopped: it was ended", UNDECIDED) from None
    except ConnectionError:
        return None
    finally:
        ours.settimeout(None)
    known = {str(code): code for code in _CODES}
    return known.get(given[1]) if len(given) == 2 and secrets.compare_digest(given[0], nonce) else None


def _without_verdict(child: subprocess.Popen[bytes]) -> int:
    try:
        code = child.wait(FAREWELL)
    except subprocess.TimeoutExpired:
        raise CommandError("the target closed the way by which its verdict is handed over") from None
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    raise CommandError(f"the target ended its process ({how}) before there was a verdict")


def _end(child: subprocess.Popen[bytes]) -> None:
    """Let the child end by itself; threads that stay and `atexit` get no longer than FAREWELL."""
    with suppress(subprocess.TimeoutExpired):
        child.wait(FAREWELL)
    child.kill()
    child.wait()
