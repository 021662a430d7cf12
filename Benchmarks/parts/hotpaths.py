"""Processor time and allocations of what is done for every packet, message and report."""

import json
import os

from tandemlab.processes import run

from . import common


def measure(options):
    common.need(options, "hot-paths")
    out = json.loads(run(os.path.join(options.build, "hot-paths"), timeout=300).stdout)
    out["openssl"] = {str(octets): common.openssl_nanoseconds(octets) for octets in (100, 1400)}
    return out
