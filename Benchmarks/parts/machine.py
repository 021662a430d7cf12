"""On what it was measured."""

import os
import platform
import re
import time

from tandemlab.processes import run
from tandemlab.strongswan import CHARON


def facts(options):
    """Facts that a figure needs beside it; what cannot be found out is absent."""
    found = {
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()) + " UTC", "cores": os.cpu_count(), "kernel": platform.release(),
        "architecture": platform.machine(), "python": platform.python_version(),
        "processor": _field("/proc/cpuinfo", r"model name\s*: (.*)"),
        "memory_mib": _mebibytes(), "distribution": _field("/etc/os-release", r'PRETTY_NAME="(.*)"'),
        "tandemd": _said([os.path.join(options.build, "tandemd"), "--version"]), "charon": _said([CHARON, "--version"]),
        "openssl": _said(["openssl", "version"]), "iperf3": _said(["iperf3", "--version"])}
    return {key: value for key, value in found.items() if value}


def _field(path, pattern):
    try:
        with open(path) as file:
            match = re.search(pattern, file.read())
    except OSError:
        return None
    return match.group(1).strip() if match else None


def _mebibytes():
    kib = _field("/proc/meminfo", r"MemTotal:\s*(\d+)")
    return int(kib) // 1024 if kib else None


def _said(command):
    """The first line of what a program says of its version."""
    try:
        done = run(*command, check=False, timeout=10)
    except OSError:
        return None
    lines = done.stdout.strip().splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None
