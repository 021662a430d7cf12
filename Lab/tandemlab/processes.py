"""Programs started inside a namespace, logged with the time of every line, and ended by their own process ids."""

import os
import re
import signal
import subprocess
import threading
import time

from . import kernel

#: Lines kept of one program's output; the file has all of them. Enough for a minute of debug output.
LINES_MAX = 100_000


class Process:
    """One program. What it prints goes to `log`, each line stamped with CLOCK_MONOTONIC seconds.

    `binds`: (folder, where the program sees it) of a private program.
    """

    def __init__(self, name, arguments, network=None, private=False, environment=None, log=None, binds=()):
        self.name = name
        self.lines = []
        self.ended_by_us = False
        self._arrived = threading.Condition()
        self._log = open(log, "a", buffering=1) if log else None

        def enter():
            kernel.die_with_parent(signal.SIGKILL)
            if network:
                kernel.enter_network(network)
            if private:
                kernel.private_mounts(binds)

        self._popen = subprocess.Popen(
            [str(argument) for argument in arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}, preexec_fn=enter, start_new_session=True)
        self.pid = self._popen.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for raw in self._popen.stdout:
            now, text = time.monotonic(), raw.decode(errors="replace").rstrip("\n")
            if self._log:
                self._log.write(f"{now:.6f} {text}\n")
            with self._arrived:
                if len(self.lines) < LINES_MAX:
                    self.lines.append((now, text))
                self._arrived.notify_all()
        with self._arrived:
            self._arrived.notify_all()

    @property
    def alive(self):
        return self._popen.poll() is None

    @property
    def exit_code(self):
        return self._popen.poll()

    def tell(self, line):
        """Writes one line to the program's standard input."""
        self._popen.stdin.write(line.encode() + b"\n")
        self._popen.stdin.flush()

    def end_of_input(self):
        self._popen.stdin.close()

    def find(self, pattern, since=0.0):
        """The first (time, text) from `since` on that matches; None without one."""
        expression = re.compile(pattern)
        with self._arrived:
            return next((line for line in self.lines if line[0] >= since and expression.search(line[1])), None)

    def wait_for(self, pattern, timeout=10.0, since=0.0):
        """Waits for a line; raises with the last output when it does not come."""
        deadline = time.monotonic() + timeout
        while True:
            found = self.find(pattern, since)
            if found:
                return found
            left = deadline - time.monotonic()
            if left <= 0 or (not self.alive and not self._reader.is_alive()):
                raise LabError(f"{self.name}: no line matching /{pattern}/ in {timeout:g} s\n{self.tail()}")
            with self._arrived:
                self._arrived.wait(min(left, 0.1))

    def tail(self, count=15):
        with self._arrived:
            return "\n".join(f"    {self.name}: {text}" for _, text in self.lines[-count:])

    def send_signal(self, number):
        if self.alive:
            os.kill(self.pid, number)

    def wait(self, timeout):
        """The exit code, or None when it still runs after `timeout` seconds."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def kill(self):
        """SIGKILL, and waits until the kernel has let go of it."""
        self.ended_by_us = True
        self.send_signal(signal.SIGKILL)
        self._popen.wait()

    def end(self, timeout=5.0, number=signal.SIGTERM):
        """Asks it to end, and makes it after `timeout`. Returns the exit code."""
        self.ended_by_us = True
        self.send_signal(signal.SIGCONT)
        self.send_signal(number)
        if self.wait(timeout) is None:
            self.kill()
        self._reader.join(1.0)
        self._popen.stdin.close()
        if not self._reader.is_alive():
            self._popen.stdout.close()
        if self._log:
            self._log.flush()
        return self._popen.returncode


class LabError(Exception):
    """The laboratory could not go on; the message says what was awaited and what came instead."""


def run(*arguments, check=True, timeout=30.0, network=None, environment=None, text_input=None):
    """Runs a program to its end and returns its CompletedProcess with output as text."""
    enter = (lambda: kernel.enter_network(network)) if network else None
    done = subprocess.run(
        [str(argument) for argument in arguments], capture_output=True, text=True, timeout=timeout, preexec_fn=enter,
        env={**os.environ, **(environment or {})}, input=text_input)
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def wait_until(what, condition, timeout=10.0, every=0.05):
    """Calls `condition` until it is true (its value is returned); raises with `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise LabError(f"waited {timeout:g} s in vain: {what}")
        time.sleep(every)
