#!/usr/bin/env python3
"""The host lab: everything that a pair with a stock client must bear, on this machine's own kernel.

    python3 Lab/hostlab.py --build .build/release --out .build/hostlab [--only files,takeovers]

One line for every check, and a closing line `N passed, N failed`.
"""

import argparse
import json
import os
import sys
import time

from demo import add_options, guarded, settings_of
from takeovers import DOWNLOAD_RATE, check_download, takeovers
from tandemlab.checks import Checks
from tandemlab.gateway import Pair
from tandemlab.laboratory import Laboratory
from tandemlab.trials.failures import Failures
from tandemlab.trials.files import files
from tandemlab.trials.flood import flood
from tandemlab.trials.garbage import garbage
from tandemlab.trials.initiate import initiate
from tandemlab.trials.keys import foreign_keys
from tandemlab.trials.redirect import redirect
from tandemlab.trials.refusals import refusals
from tandemlab.trials.swanctl import swanctl
from tandemlab.trials.wire import check_wire

#: Those that need no pair, and come before it.
APART = ("files", "redirect")
TRIALS = (
    *APART, "swanctl", "initiate", "refusals", "garbage", "flood", "keys", "frozen", "short_freeze", "beheaded", "host", "orderly", "takeovers")


class HostLab:
    def __init__(self, lab, checks, options):
        self.lab, self.checks, self.options = lab, checks, options
        self.figures = {}
        self.failures = Failures(lab, checks, not options.report_times_only)

    def run(self, wanted):
        if "files" in wanted:
            pair = Pair(self.lab.network, os.path.join(self.lab.directory, "files"), self.lab.settings.build)
            self.checks.run("files", lambda: files(self.checks, pair.nodes["sg1"]))
        if "redirect" in wanted:
            print("— redirect", flush=True)
            self.checks.run("redirect", lambda: redirect(self.lab, self.checks))
        if set(wanted) <= set(APART):
            return
        self.lab.start_pair()
        self.lab.start_client()
        self.lab.start_probes(100)
        self.lab.start_download(DOWNLOAD_RATE, 1)
        for name in wanted:
            if name not in APART:
                print(f"— {name}", flush=True)
                self.checks.run(name, lambda: self._trial(name))
        self.checks.run("download", lambda: check_download(self.lab, self.checks))
        check_wire(self.lab, self.checks)

    def _trial(self, name):
        """Each begins with a pair that is paired; a node that a failed trial left dead is started for the next."""
        for gateway in self.lab.pair.nodes.values():
            if not gateway.process.alive:
                gateway.start()
        active, standby = self.lab.pair.wait_paired()
        trials = {
            "swanctl": lambda: swanctl(self.lab, self.checks, active, standby),
            "initiate": lambda: initiate(self.lab, self.checks, active, standby),
            "refusals": lambda: refusals(self.lab, self.checks, active),
            "garbage": lambda: garbage(self.lab, self.checks, active, standby),
            "flood": lambda: self.figures.update(flood=flood(self.lab, self.checks, active, standby)),
            "keys": lambda: foreign_keys(self.lab, self.checks, active, standby),
            "takeovers": lambda: takeovers(self.lab, self.checks, self.options.count, not self.options.report_times_only),
        }
        trials.get(name, getattr(self.failures, name, None))()


def perform(settings, options):
    os.makedirs(options.out, exist_ok=True)
    checks, start = Checks("Host lab"), time.monotonic()
    wanted = options.only.split(",") if options.only else TRIALS
    unknown = set(wanted) - set(TRIALS)
    if unknown:
        print(f"no such trial: {', '.join(sorted(unknown))}; there are {', '.join(TRIALS)}", file=sys.stderr)
        return 2
    with Laboratory(settings) as lab:
        trials = HostLab(lab, checks, options)
        checks.run("host lab", lambda: trials.run(wanted))
        names = [lab.network.name(host) for host in lab.network.hosts]
        folder = lab.directory
    left = [name for name in names if os.path.exists(f"/run/netns/{name}")]
    checks.expect("nothing is left behind", not left and (settings.keep or not os.path.exists(folder)), ", ".join(left))
    with open(os.path.join(options.out, "result.json"), "w") as file:
        document = {"passed": len(checks.passed), "failed": checks.failed, "seconds": round(time.monotonic() - start, 1), **trials.figures}
        json.dump(document, file, indent=2)
        file.write("\n")
    return checks.close()


def main():
    parser = argparse.ArgumentParser(description="Everything that a pair must bear.")
    add_options(parser, out=".build/hostlab")
    parser.add_argument("--only", help=f"comma-separated trials of: {', '.join(TRIALS)}")
    parser.add_argument("--count", type=int, default=20, help="takeovers in a row")
    options = parser.parse_args()
    sys.exit(guarded(lambda: perform(settings_of(options), options)))


if __name__ == "__main__":
    main()
