#!/usr/bin/env python3
"""Connections through a NAT and a stateful firewall on the gateways survive a takeover; without replication they do not.

    mkdir -p .build/conntrack && Lab/uml/run -t 600 -o .build/conntrack Lab/conntrack.py
"""

import argparse
import json
import os
import sys

from demo import guarded, settings_of
from tandemlab.checks import Checks
from tandemlab.laboratory import Laboratory
from tandemlab.prerequisites import load_modules
from tandemlab.trials.conntrack import Downloads, add_firewall, breaks, configuration, survives

MODULES = (
    "nf_conntrack", "nf_conntrack_netlink", "nf_nat", "ip_tables", "iptable_filter", "iptable_nat", "xt_conntrack", "xt_nat", "xt_tcpudp")


def part(settings, checks, replicated, rate):
    """A laboratory of its own for each, so that nothing of one is known to the other."""
    with Laboratory(settings) as lab:
        add_firewall(lab.network)
        lab.start_pair(configuration(replicated))
        lab.start_client()
        downloads = Downloads(lab, rate)
        if replicated:
            survives(lab, checks, downloads)
            survives(lab, checks, downloads)
            survives(lab, checks, downloads, kill=False)
            same = downloads.finish()
            checks.expect("one connection each all along, the same bytes at both ends", all(same.values()), str(same))
        else:
            breaks(lab, checks, downloads)


def perform(settings, options):
    os.makedirs(options.out, exist_ok=True)
    checks = Checks("Connections over takeovers")
    load_modules(*MODULES)
    for name, replicated in (("with replication", True), ("without replication", False)):
        print(f"— {name}", flush=True)
        checks.run(name, lambda: part(settings, checks, replicated, options.rate))
    with open(os.path.join(options.out, "result.json"), "w") as file:
        json.dump({"passed": checks.passed, "failed": checks.failed}, file, indent=2)
        file.write("\n")
    return checks.close()


def main():
    parser = argparse.ArgumentParser(description="NATed and filtered connections over takeovers, with and without their replication.")
    parser.add_argument("--build", default=os.path.join(os.environ.get("LAB_TREE", "."), ".build/release"))
    parser.add_argument("--out", default=os.environ.get("LAB_OUT", ".build/conntrack"))
    parser.add_argument("--rate", type=float, default=200e3, help="bytes a second of each download")
    parser.add_argument("--client", default="kernel-netlink")
    parser.add_argument("--dataplane", default="kernel")
    parser.add_argument("--heartbeat", default="200ms", help="one slow CPU for all hosts: shorter ones give false alarms")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    sys.exit(guarded(lambda: perform(settings_of(options), options)))


if __name__ == "__main__":
    main()
