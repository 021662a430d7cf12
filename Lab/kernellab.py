#!/usr/bin/env python3
"""The kernel lab: the demo, the takeovers and the replayed packets with XFRM in the gateways and in the client. Times are only reported.

    mkdir -p .build/lab && Lab/uml/run -t 900 -o .build/lab Lab/kernellab.py
"""

import argparse
import json
import os
import sys

import demo
import replay
import takeovers

from tandemlab.checks import Checks
from tandemlab.processes import LabError


def main():
    parser = argparse.ArgumentParser(description="The demo's and the takeovers' checks on a kernel with ESP.")
    parser.add_argument("--build", default=os.path.join(os.environ.get("LAB_TREE", "."), ".build/release"))
    parser.add_argument("--out", default=os.environ.get("LAB_OUT", ".build/lab"))
    parser.add_argument("--count", type=int, default=20, help="takeovers in a row")
    parser.add_argument("--bytes", type=int, default=20_000_000, help="size of the demo's download: one slow CPU does it all")
    parser.add_argument("--rate", type=float, default=500e3, help="bytes a second")
    parser.add_argument("--client", default="kernel-netlink")
    parser.add_argument("--dataplane", default="kernel")
    parser.add_argument("--heartbeat", default="200ms", help="one slow CPU for all hosts: shorter ones give false alarms")
    parser.add_argument("--switchover-rate", type=int, default=200)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    options.report_times_only = True
    settings, checks, out = demo.settings_of(options), Checks("Kernel lab"), options.out
    for name, part in (("demo", demo), ("takeovers", takeovers), ("replay", replay)):
        options.out = os.path.join(out, name)
        try:
            checks.expect(name, part.perform(settings, options) == 0)
        except LabError as error:
            checks.expect(name, False, str(error))
    result = {"passed": len(checks.passed), "failed": len(checks.failed)}
    for name in ("demo", "takeovers", "replay"):
        path = os.path.join(out, name, "result.json")
        if os.path.exists(path):
            with open(path) as file:
                result[name] = json.load(file)
    with open(os.path.join(out, "result.json"), "w") as file:
        json.dump(result, file, indent=2)
    sys.exit(checks.close())


if __name__ == "__main__":
    main()
