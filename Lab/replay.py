#!/usr/bin/env python3
"""Packets captured before a takeover and sent again after it, with `replay_protection` as it is and with `strict`.

    python3 Lab/replay.py --build .build/release --out .build/replay
"""

import argparse
import json
import os
import sys

from demo import add_options, guarded, settings_of
from tandemlab.checks import Checks
from tandemlab.trials.replay import replay


def perform(settings, options):
    os.makedirs(options.out, exist_ok=True)
    checks = Checks("Replayed packets")
    found = replay(settings, checks)
    with open(os.path.join(options.out, "result.json"), "w") as file:
        json.dump({**found, "passed": len(checks.passed), "failed": checks.failed}, file, indent=2)
        file.write("\n")
    return checks.close()


def main():
    parser = argparse.ArgumentParser(description="What is let in of packets that were captured before a takeover.")
    add_options(parser, out=".build/replay")
    options = parser.parse_args()
    sys.exit(guarded(lambda: perform(settings_of(options), options)))


if __name__ == "__main__":
    main()
