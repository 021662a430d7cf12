#!/usr/bin/env python3
"""Takeovers in a row, alternating between SIGKILL and switchover, with a rekey of IKE and CHILD SA by the client after each.

    python3 Lab/takeovers.py --build .build/release --out .build/takeovers --count 20
"""

import argparse
import json
import os
import statistics
import sys

from demo import add_options, guarded, settings_of
from tandemlab.checks import Checks
from tandemlab.laboratory import Laboratory
from tandemlab.trials.acts import Acts
from tandemlab.trials.wire import check_wire

#: A slow download that goes on over all of them: one TCP connection, whatever happens.
DOWNLOAD_RATE = 300e3
LIMITS_MS = {"kill": 100, "switchover": 30}
RATE = 100


def takeovers(lab, checks, count, times_count=True):
    """Runs them under the running probes; returns a list of {kind, blackout_ms, lost, cause}."""
    acts, seen = Acts(lab, checks), []
    for index in range(count):
        kind = ("kill", "switchover")[index % 2]
        seen.append(acts.run(kind, f"takeover {index + 1} ({kind})"))
        lab.download.check_alive()
    for kind, limit in LIMITS_MS.items():
        gaps = [act.blackout_ms for act in seen if act.kind == kind]
        if gaps:
            detail = f"median {statistics.median(gaps):.1f} ms, longest {max(gaps):.1f} ms of {len(gaps)}"
            name = f"{kind}: no blackout above {limit} ms" if times_count else f"{kind}: blackouts, not judged here"
            checks.expect(name, max(gaps) <= limit or not times_count, detail)
    return [act.result() for act in seen]


def check_download(lab, checks):
    """Ends the slow download and compares both ends."""
    served, fetched = lab.download.finish(60)
    same = served["sha256"] == fetched["sha256"] and served["connections"] == 1 and fetched["opened"] == fetched["closed"]
    checks.expect("one TCP connection all along, the same bytes at both ends", same, f"{fetched['bytes']} bytes")


def perform(settings, options):
    os.makedirs(options.out, exist_ok=True)
    checks = Checks(f"{options.count} takeovers in a row")
    with Laboratory(settings) as lab:
        lab.start_pair()
        lab.start_client()
        lab.start_probes(RATE)
        lab.start_download(DOWNLOAD_RATE, 1)
        seen = takeovers(lab, checks, options.count, not options.report_times_only)
        check_download(lab, checks)
        check_wire(lab, checks)
    with open(os.path.join(options.out, "result.json"), "w") as file:
        json.dump({"takeovers": seen, "passed": len(checks.passed), "failed": checks.failed}, file, indent=2)
        file.write("\n")
    return checks.close()


def main():
    parser = argparse.ArgumentParser(description="Takeovers in a row, with rekeys.")
    add_options(parser, out=".build/takeovers")
    parser.add_argument("--count", type=int, default=20)
    options = parser.parse_args()
    sys.exit(guarded(lambda: perform(settings_of(options), options)))


if __name__ == "__main__":
    main()
