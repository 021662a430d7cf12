#!/usr/bin/env python3
"""The fault matrix: faults one by one under probes in both directions, and what each cost, as a table.

    python3 Lab/faults.py --build .build/release --out .build/faults [--only kill,cut_all]

The time of day that jumps is that of one daemon alone (`tandemlab/clock.c`).
"""

import argparse
import json
import os
import sys

from demo import add_options, guarded, settings_of
from tandemlab.checks import Checks
from tandemlab.laboratory import Laboratory
from tandemlab.namespaces import NODES, OUTER_SHARED
from tandemlab.processes import run
from tandemlab.strongswan import road_conf
from tandemlab.trials.matrix import Matrix
from tandemlab.trials.wire import check_wire

RATE = 100
#: Of the file system on which a gateway keeps what it writes.
SMALL_DISK = "256k"


def small_disks(lab):
    """Gives each gateway's own folder a file system that is easily filled, under what is there already."""
    folders = {}
    for name in NODES:
        folder = os.path.join(lab.directory, name, "run")
        os.makedirs(folder, mode=0o755, exist_ok=True)
        run("mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tandem-lab", folder)
        lab.at_end(lambda folder=folder: run("umount", "-l", folder))
        folders[name] = folder
    return folders


def table(rows):
    """For people: one line for each fault."""
    head = ("fault", "sessions kept", "blackout", "lost →", "lost ←", "owner", "by", "authenticated")
    lines = [head] + [
        (row.fault, f"{row.kept} of {row.sessions}", f"{row.blackout_ms:.0f} ms", *(f"{row.lost[key]} of {row.sent[key]}" for key in row.lost),
         f"{row.owner_before} → {row.owner_after}" if row.owner_before != row.owner_after else row.owner_before, row.cause,
         str(row.authentications)) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def perform(settings, options):
    os.makedirs(options.out, exist_ok=True)
    checks, rows = Checks("Fault matrix"), []
    with Laboratory(settings) as lab:
        disks = small_disks(lab)
        lab.start_pair(own_clocks=True)
        lab.start_client()
        second = lab.start_stranger(road_conf(OUTER_SHARED, identity="bert@example.net"))
        second.initiate("net")
        lab.start_probes(RATE)
        matrix = Matrix(lab, [lab.client, second], disks)
        unknown = [name for name in options.only or () if name not in matrix.faults]
        if unknown:
            sys.exit(f"faults: there is no {', '.join(unknown)}; there are {', '.join(matrix.faults)}")
        for name in options.only or matrix.faults:
            row = matrix.run(name)
            rows.append(row)
            checks.expect(
                f"{row.fault}: every session goes on", row.kept == row.sessions,
                f"blackout {row.blackout_ms:.0f} ms, lost {row.lost}, {row.owner_before} → {row.owner_after} ({row.cause})")
        found = check_wire(lab, checks)
    for row in rows:
        row.authentications = sum(row.start <= when <= row.end for when, _ in found.authentications)
    print("\n" + table(rows) + "\n", flush=True)
    result = {"rows": [row.result() for row in rows], "passed": len(checks.passed), "failed": checks.failed}
    with open(os.path.join(options.out, "result.json"), "w") as file:
        json.dump(result, file, indent=2)
        file.write("\n")
    return checks.close()


def main():
    parser = argparse.ArgumentParser(description="Faults one by one, and what each cost.")
    add_options(parser, out=".build/faults")
    parser.add_argument("--only", type=lambda text: text.split(","), help="these faults")
    options = parser.parse_args()
    sys.exit(guarded(lambda: perform(settings_of(options), options)))


if __name__ == "__main__":
    main()
