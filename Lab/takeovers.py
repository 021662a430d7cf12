#!/usr/bin/env python3
"""Takeovers in a row, alternating between SIGKILL and switchover, with a rekey of IKE and CHILD SA by the client after each.

    python3 Lab/takeovers.py --build .build/release --out .build/takeovers --count 20
"""

import argparse
import json
import os
import statistics
import sys
import time

from demo import add_options, guarded, settings_of
from tandemlab.checks import Checks
from tandemlab.laboratory import Laboratory
from tandemlab.trials.span import measure
from tandemlab.trials.wire import check_wire

#: A slow download that goes on over all of them: one TCP connection, whatever happens.
DOWNLOAD_RATE = 300e3
LIMITS_MS = {"kill": 100, "switchover": 30}
RATE = 100


def takeovers(lab, checks, count, times_count=True):
    """Runs them under the running probes; returns a list of {kind, blackout_ms, lost}."""
    seen = []
    for index in range(count):
        kind = ("kill", "switchover")[index % 2]
        seen.append(_one(lab, checks, kind, f"takeover {index + 1} ({kind})"))
        lab.download.check_alive()
    for kind, limit in LIMITS_MS.items():
        gaps = [each["blackout_ms"] for each in seen if each["kind"] == kind]
        if gaps:
            detail = f"median {statistics.median(gaps):.1f} ms, longest {max(gaps):.1f} ms of {len(gaps)}"
            name = f"{kind}: no blackout above {limit} ms" if times_count else f"{kind}: blackouts, not judged here"
            checks.expect(name, max(gaps) <= limit or not times_count, detail)
    return seen


def _one(lab, checks, kind, name):
    old, new = lab.pair.wait_paired()
    before, epoch, start = lab.client.proof(), int(new.status()["epoch"]), time.monotonic()
    if kind == "kill":
        old.kill()
    else:
        old.command("switchover")
    state = lab.pair.wait_active(new, epoch)
    lab.probes.wait_flowing(time.monotonic())
    time.sleep(0.3)
    after = lab.client.proof()
    gaps = measure(lab, start, time.monotonic() - 0.1)
    worst, lost = max(gap.blackout_ms for gap in gaps), max(gap.lost for gap in gaps)
    same = before == after
    rekeyed = same and _rekey(lab, after)
    lab.probes.wait_flowing(time.monotonic())
    checks.expect(
        f"{name}: the same tunnel, and both rekeys work", same and rekeyed,
        f"{state['last_takeover']['cause']}, epoch {state['epoch']}, blackout {worst:.1f} ms, {lost} lost, same {same}, rekeyed {rekeyed}")
    if kind == "kill":
        old.start()
    return {"kind": kind, "blackout_ms": round(worst, 3), "lost": lost, "cause": state["last_takeover"]["cause"]}


def _rekey(lab, proof):
    """The client rekeys its CHILD SA, then its IKE SA; each must leave exactly one, and a new one."""
    lab.client.rekey_child("net")
    child = lab.client.settled_proof(unlike=lambda now: now.child_unique_id != proof.child_unique_id)
    lab.client.rekey_ike("road")
    ike = lab.client.settled_proof(unlike=lambda now: now.ike_unique_id != proof.ike_unique_id)
    return ike.child_spis == child.child_spis and ike.virtual_address == proof.virtual_address


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
