#!/usr/bin/env python3
"""Moves and takeovers in a row under one download: SIGKILL, switchover, all links cut, GET and PUT; rekeys by the client after each.

    python3 Lab/moves.py --build .build/release --out .build/moves --count 20

The recording of the whole run is judged: no ESP sequence number, IV or message ID twice, no authentication after the first.
"""

import argparse
import json
import os
import sys

from demo import add_options, guarded, settings_of
from takeovers import DOWNLOAD_RATE, RATE, check_download
from tandemlab.checks import Checks
from tandemlab.laboratory import Laboratory
from tandemlab.trials.acts import Acts
from tandemlab.trials.wire import check_wire

KINDS = ("kill", "get_put", "switchover", "cut")


def perform(settings, options):
    os.makedirs(options.out, exist_ok=True)
    checks, seen = Checks(f"{options.count} moves and takeovers in a row"), []
    with Laboratory(settings) as lab:
        lab.start_pair()
        lab.start_client()
        lab.start_probes(RATE)
        lab.start_download(DOWNLOAD_RATE, 1)
        acts = Acts(lab, checks)
        for index in range(options.count):
            kind = options.kinds[index % len(options.kinds)]
            seen.append(acts.run(kind, f"{index + 1} ({kind})"))
            lab.download.check_alive()
        check_download(lab, checks)
        lab.pair.wait_paired()
        found = check_wire(lab, checks)
    again = len(found.authentications) - 1
    checks.expect("the client authenticated once, and never again", again == 0, f"{len(found.inits)} IKE_SA_INIT, {again + 1} IKE_AUTH")
    result = {
        "moves": len(seen), "sequence_reused": len(found.reused_numbers), "iv_reused": len(found.reused_ivs),
        "message_id_reused": len(found.reused_message_ids), "authentications": again, "lost_probes": sum(act.lost for act in seen),
        "synchronizations": found.synchronizations, "acts": [act.result() for act in seen], "passed": len(checks.passed),
        "failed": checks.failed}
    with open(os.path.join(options.out, "result.json"), "w") as file:
        json.dump(result, file, indent=2)
        file.write("\n")
    return checks.close()


def main():
    parser = argparse.ArgumentParser(description="Moves and takeovers in a row, with rekeys.")
    add_options(parser, out=".build/moves")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(KINDS), help=f"of: {', '.join(KINDS)}")
    options = parser.parse_args()
    sys.exit(guarded(lambda: perform(settings_of(options), options)))


if __name__ == "__main__":
    main()
