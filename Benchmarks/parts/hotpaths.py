"""Processor time and allocations of what is done for every packet, message and report."""

import json
import os
import re

from tandemlab.processes import run

from . import common


def measure(options):
    common.need(options, "hot-paths")
    out = json.loads(run(os.path.join(options.build, "hot-paths"), timeout=300).stdout)
    out["openssl"] = {str(octets): _openssl(octets) for octets in (100, 1400)}
    return out


def _openssl(octets):
    """Nanoseconds of AES-128-GCM over so many octets by OpenSSL's own measurement: the floor of a packet."""
    done = run("openssl", "speed", "-mr", "-seconds", "2", "-bytes", octets, "-evp", "aes-128-gcm", timeout=60)
    speed = re.search(r"^\+F:\d+:[^:]+:([0-9.]+)", done.stdout, re.M)
    return round(octets / float(speed.group(1)) * 1e9, 1)
