#!/usr/bin/env python3
"""The interoperability matrix: the pair with stock strongSwan, libreswan and OpenIKED, and with a Tandem alone, on a kernel with ESP.

    mkdir -p .build/interop && Lab/uml/run -t 3600 -o .build/interop Lab/interop.py [--short] [--only WORD+WORD,...]

Exit status 0 when no cell failed. result.json has every cell; a row with a failure leaves its logs in a folder of its name.
"""

import argparse
import os
import shutil
import sys
import time

from tandemlab import prerequisites
from tandemlab.interop import matrix
from tandemlab.interop.bench import Bench
from tandemlab.interop.course import CELLS, SHORT, Course
from tandemlab.interop_rows import rows
from tandemlab.peers import PEERS
from tandemlab.processes import LabError

#: Of the last words of a daemon that did not start.
DETAIL_MAX = 600


def run_row(bench, row, cells, out, keep):
    """Runs one row; returns its document."""
    started = time.monotonic()
    document = {"name": row.name, **vars(row), "cells": {}}
    lacks = PEERS[row.peer].lacks(row)
    if lacks:
        document["cells"] = {cell: {"outcome": "not_offered", "detail": lacks, "seconds": 0.0} for cell in cells}
        return {**document, "seconds": 0.0}
    peer = PEERS[row.peer](bench, row)
    course = Course(bench, row, peer)
    try:
        bench.begin(row)
        peer.start()
        course.run(cells)
    except (LabError, OSError) as error:
        detail = f"the row did not start: {error}"
        for cell in cells:
            course.cells.setdefault(cell, {"outcome": "failed", "detail": detail[-DETAIL_MAX:].replace("\n", " | "), "seconds": 0.0})
    finally:
        bench.end(peer)
    document["cells"] = course.cells
    document["unplanned_takeovers"] = course.unplanned_takeovers
    folder = os.path.join(out, row.name)
    shutil.rmtree(folder, ignore_errors=True)
    if keep or any(cell["outcome"] == "failed" for cell in course.cells.values()):
        bench.keep_logs(folder)
        with open(os.path.join(folder, "cells.txt"), "w") as file:
            for name, cell in course.cells.items():
                file.write(f"{name}: {cell['outcome']} {cell['detail']} ({cell['seconds']} s)\n")
    return {**document, "seconds": round(time.monotonic() - started, 1)}


def main():
    parser = argparse.ArgumentParser(description="The interoperability matrix.")
    parser.add_argument("--build", default=os.path.join(os.environ.get("LAB_TREE", "."), ".build/release"))
    parser.add_argument("--out", default=os.environ.get("LAB_OUT", ".build/interop"))
    parser.add_argument("--short", action="store_true", help="the rows and cells of `make test`")
    parser.add_argument("--only", help="rows whose names have these words: `strongswan+psk,openiked`")
    parser.add_argument("--cells", help="these cells only, with commas")
    parser.add_argument("--heartbeat", default="400ms", help="one slow CPU for all hosts: shorter ones give false alarms")
    parser.add_argument("--keep", action="store_true", help="keep the logs of every row")
    options = parser.parse_args()
    prerequisites.check(options.build)
    prerequisites.load_modules("af_key", "nf_nat", "iptable_nat", "xt_MASQUERADE")
    cells = options.cells.split(",") if options.cells else SHORT if options.short else CELLS
    table, done, result = rows(options.short, options.only), [], os.path.join(options.out, "result.json")
    os.makedirs(options.out, exist_ok=True)
    with Bench(os.path.abspath(options.build), options.heartbeat) as bench:
        for number, row in enumerate(table, 1):
            done.append(run_row(bench, row, cells, options.out, options.keep))
            print(matrix.row_line(done[-1], number, len(table)), flush=True)
            matrix.write(result, done, is_complete=number == len(table))
    print(f"\n{matrix.table(done)}\n\n{result}")
    counts = matrix.count(done)
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['not_offered']} not offered")
    sys.exit(1 if counts["failed"] else 0)


if __name__ == "__main__":
    try:
        main()
    except LabError as error:
        print(f"FAIL {error}", file=sys.stderr)
        sys.exit(1)
