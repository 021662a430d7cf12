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
from tandemlab.leaks import check_leaks
from tandemlab.namespaces import OUTER_SHARED
from tandemlab.strongswan import road_conf
from tandemlab.trials.counters import counters
from tandemlab.trials.failures import Failures
from tandemlab.trials.files import files
from tandemlab.trials.flood import flood
from tandemlab.trials.garbage import garbage
from tandemlab.trials.getput import getput
from tandemlab.trials.initiate import initiate
from tandemlab.trials.keys import foreign_keys
from tandemlab.trials.middle import middle
from tandemlab.trials.process import process
from tandemlab.trials.redirect import redirect
from tandemlab.trials.refusals import refusals
from tandemlab.trials.replay import replay
from tandemlab.trials.restart import restart
from tandemlab.trials.rotate import rotate
from tandemlab.trials.secrets import secrets
from tandemlab.trials.split import split
from tandemlab.trials.stockmove import stockmove
from tandemlab.trials.swanctl import swanctl
from tandemlab.trials.track import track
from tandemlab.trials.transfer import transfer
from tandemlab.trials.twocities import twocities
from tandemlab.trials.wire import check_wire
from tandemlab.trials.witness import paths, programs, witness

#: Those that need no pair, and come before it.
BEFORE = ("files", "redirect", "transfer", "stockmove")
#: Those that have a laboratory of their own.
APART = ("twocities", "replay", "middle", "witness", "programs", "paths", "split", "track", "restart")
TRIALS = (
    *BEFORE, "swanctl", "initiate", "getput", "refusals", "garbage", "flood", "keys", "process", "secrets", "rotate", "frozen",
    "short_freeze", "beheaded", "host", "orderly", "counters", "takeovers", *APART)


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
        if "transfer" in wanted:
            print("— transfer", flush=True)
            self.checks.run("transfer", lambda: transfer(self.lab, self.checks))
        if "stockmove" in wanted:
            print("— stockmove", flush=True)
            self.checks.run("stockmove", lambda: self.figures.update(stockmove=stockmove(self.lab, self.checks)))
        if set(wanted) <= set(BEFORE):
            return
        self.lab.start_pair()
        # A client that asks soon whether the gateway lives: it must bear the pause between GET and PUT.
        self.lab.start_client(road_conf(OUTER_SHARED, dpd="2s") if set(wanted) == {"getput"} else None)
        self.lab.start_probes(100)
        self.lab.start_download(DOWNLOAD_RATE, 1)
        for name in wanted:
            if name not in BEFORE:
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
        self.lab.leaks.collect(active)
        trials = {
            "swanctl": lambda: swanctl(self.lab, self.checks, active, standby),
            "initiate": lambda: initiate(self.lab, self.checks, active, standby),
            "getput": lambda: self.figures.update(getput=getput(self.lab, self.checks, active, standby)),
            "refusals": lambda: refusals(self.lab, self.checks, active),
            "garbage": lambda: garbage(self.lab, self.checks, active, standby),
            "flood": lambda: self.figures.update(flood=flood(self.lab, self.checks, active, standby)),
            "keys": lambda: foreign_keys(self.lab, self.checks, active, standby),
            "process": lambda: process(self.checks, (active, standby)),
            "secrets": lambda: secrets(self.lab, self.checks, active, standby),
            "rotate": lambda: self.figures.update(rotate_ms=rotate(self.lab, self.checks, active, standby)),
            "counters": lambda: counters(self.lab, self.checks, active, standby),
            "takeovers": lambda: takeovers(self.lab, self.checks, self.options.count, not self.options.report_times_only),
        }
        trials.get(name, getattr(self.failures, name, None))()
        for gateway in self.lab.pair.nodes.values():
            self.lab.leaks.collect(gateway)


def check_left(lab, checks):
    left = [name for host in lab.network.hosts if os.path.exists(f"/run/netns/{(name := lab.network.name(host))}")]
    checks.expect("nothing is left behind", not left and (lab.settings.keep or not os.path.exists(lab.directory)), ", ".join(left))


def perform(settings, options):
    os.makedirs(options.out, exist_ok=True)
    checks, start = Checks("Host lab"), time.monotonic()
    wanted = options.only.split(",") if options.only else TRIALS
    unknown = set(wanted) - set(TRIALS)
    if unknown:
        print(f"no such trial: {', '.join(sorted(unknown))}; there are {', '.join(TRIALS)}", file=sys.stderr)
        return 2
    figures = {}
    together = [name for name in wanted if name not in APART]
    if together:
        with Laboratory(settings) as lab:
            trials = HostLab(lab, checks, options)
            checks.run("host lab", lambda: trials.run(together))
            checks.run("secrets", lambda: check_leaks(lab, checks))
        figures.update(trials.figures)
        check_left(lab, checks)
    if "twocities" in wanted:
        print("— twocities", flush=True)
        with Laboratory(settings) as lab:
            checks.run("twocities", lambda: figures.update(twocities=twocities(lab, checks, not options.report_times_only)))
            checks.run("secrets", lambda: check_leaks(lab, checks))
        check_left(lab, checks)
    if "middle" in wanted:
        print("— middle", flush=True)
        with Laboratory(settings) as lab:
            checks.run("middle", lambda: figures.update(middle=middle(lab, checks, not options.report_times_only)))
        check_left(lab, checks)
    if "replay" in wanted:
        print("— replay", flush=True)
        checks.run("replay", lambda: figures.update(replay=replay(settings, checks)))
    if "witness" in wanted:
        print("— witness", flush=True)
        checks.run("witness", lambda: figures.update(witness=witness(settings, checks, not options.report_times_only)))
    if "programs" in wanted:
        print("— programs", flush=True)
        checks.run("programs", lambda: programs(settings, checks, not options.report_times_only))
    if "paths" in wanted:
        print("— paths", flush=True)
        checks.run("paths", lambda: paths(settings, checks))
    if "split" in wanted:
        print("— split", flush=True)
        checks.run("split", lambda: split(settings, checks))
    if "track" in wanted:
        print("— track", flush=True)
        with Laboratory(settings) as lab:
            checks.run("track", lambda: figures.update(track=track(lab, checks, not options.report_times_only)))
    if "restart" in wanted:
        print("— restart", flush=True)
        with Laboratory(settings) as lab:
            checks.run("restart", lambda: figures.update(restart=restart(lab, checks)))
        check_left(lab, checks)
    with open(os.path.join(options.out, "result.json"), "w") as file:
        document = {"passed": len(checks.passed), "failed": checks.failed, "seconds": round(time.monotonic() - start, 1), **figures}
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
