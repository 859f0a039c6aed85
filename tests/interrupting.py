"""Press Ctrl-C at a program that a test has started."""

import contextlib
import signal
import subprocess

import pytest


def press_ctrl_c(running: subprocess.Popen[str]) -> int:
    """Interrupt a program and return its exit code.

    Again if need be: asyncio, unlike trio, has no wake-up for a signal that comes at the very moment when its
    loop goes to sleep, and handles it with the next.
    """
    for _ in range(10):
        running.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return running.wait(timeout=3)
    running.kill()
    pytest.fail("it went on after ten interrupts")
