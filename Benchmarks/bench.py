#!/usr/bin/env python3
"""Every figure of the project's numbers: measures part by part, keeps the data, and makes figures, plots and pages of it.

    python3 Benchmarks/bench.py --build .build/release --out .build/bench [--quick] [--only establishment,contexts] [--record]

A part that fails is reported and the others go on; the exit code is 1 then. Each part's data stay in OUT/data, so that a part can be
measured again alone, and `--render` makes figures, plots and pages of what is there without measuring.
"""

import argparse
import importlib
import json
import os
import sys
import time
import traceback

from parts import machine
from report import document, figures, page

#: In this order: what is short comes first.
PARTS = (
    "hotpaths", "contexts", "establishment", "takeover", "replication", "counters", "throughput", "downloads", "blackouts",
    "kernel", "soak")
#: Seconds of the soak: an hour as promised, and long enough for a few takeovers.
SOAK_S, SOAK_QUICK_S = 3600, 90
#: Parts that do the same so many times, in full.
REPEATED = {"takeover": 8, "blackouts": 8, "downloads": 5}
#: Where the last full run's figures are kept.
DOCS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "Docs")


def main():
    options = parse()
    try:
        sys.exit(perform(options))
    except KeyboardInterrupt:
        sys.exit(130)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=".build/release", help="folder with tandemd, tandem, session-generator and hot-paths")
    parser.add_argument("--out", default=".build/bench", help="folder for data, figures, plots and the page")
    parser.add_argument("--only", type=names, default=PARTS, help=f"some of {','.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="few samples and small counts: minutes, and nothing to quote")
    parser.add_argument("--counts", type=numbers, help="other numbers of sessions, as 10,100")
    parser.add_argument("--full-table", action="store_true", help="the paper's table I with its own pauses and sizes: half an hour")
    parser.add_argument("--repeats", type=int, help=f"instead of so many: {REPEATED}")
    parser.add_argument("--soak", type=float, help=f"seconds of the soak ({SOAK_S}, or {SOAK_QUICK_S} with --quick)")
    parser.add_argument("--render", action="store_true", help="measure nothing: figures, plots and pages from the data kept")
    parser.add_argument("--record", action="store_true", help="write Docs/benchmarks.json and the table in Docs/benchmarks.md as well")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)  # of the part `kernel`, by itself
    options = parser.parse_args()
    options.build, options.out = os.path.abspath(options.build), os.path.abspath(options.out)
    options.soak = options.soak or (SOAK_QUICK_S if options.quick else SOAK_S)
    options.dataplane, options.heartbeat = "user", None
    if options.record and options.quick:
        parser.error("--record is for a run with enough samples, without --quick")
    return options


def shortened(part, options):
    """How this run of a part is less than the full one, for the record; empty when it is not."""
    said = []
    if options.quick:
        said.append("quick")
    if options.counts and part in ("contexts", "establishment", "takeover", "kernel", "soak"):
        said.append(f"sessions {','.join(map(str, options.counts))}")
    if options.repeats and part in REPEATED:
        said.append(f"{options.repeats} repeats instead of {REPEATED[part]}")
    if part == "soak" and options.soak < SOAK_S:
        said.append(f"{options.soak:.0f} s instead of {SOAK_S}")
    return "; ".join(said)


def names(text):
    chosen = tuple(text.split(","))
    unknown = sorted(set(chosen) - set(PARTS))
    if unknown:
        raise argparse.ArgumentTypeError(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in chosen)


def numbers(text):
    found = tuple(sorted({int(word) for word in text.split(",")}))
    if not found or found[0] < 1:
        raise argparse.ArgumentTypeError("numbers of sessions, at least 1, as 10,100")
    return found


def perform(options):
    """Measures what is asked for, then renders; returns the exit code."""
    if options.inside:
        importlib.import_module("parts.kernel").inside(options)
        return 0
    folder = os.path.join(options.out, "data")
    os.makedirs(folder, exist_ok=True)
    failed = {} if options.render else measure_all(options, folder)
    kept = load(folder)
    found = figures.derive(kept)
    result = figures.result(found, kept, failed)
    figures.show(result)
    write(os.path.join(options.out, "result.json"), result)
    print(page.write(options.out, kept, result))
    for part, why in failed.items():
        print(f"failed: {part}: {why}", file=sys.stderr)
    if options.record:
        figures.check_recordable(kept, failed)
        write(os.path.join(DOCS, "benchmarks.json"), result)
        print(document.write(os.path.join(DOCS, "benchmarks.md"), result))
    return 1 if failed else 0


def measure_all(options, folder):
    """One part after the other; returns the failed ones, each with its reason."""
    failed = {}
    for part in options.only:
        print(f"— {part}", flush=True)
        # What else the machine does: the part itself is not in it yet, the one before may be.
        began, load = time.monotonic(), round(os.getloadavg()[0], 2)
        try:
            data = importlib.import_module(f"parts.{part}").measure(options)
        except Exception as error:  # noqa: BLE001 whatever it is, the other parts go on
            traceback.print_exc()
            failed[part] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
            continue
        # What a part could not measure beside what it could: the data are kept, and the part has failed all the same.
        if problems := data.pop("problems", None):
            failed[part] = "; ".join(problems)
        write(os.path.join(folder, f"{part}.json"), {
            "part": part, "quick": options.quick, "shortened": shortened(part, options), "seconds": round(time.monotonic() - began, 1),
            "machine": {**machine.facts(options), "load_before": load}, "data": data})
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
    return failed


def load(folder):
    """What is kept of each part, by its name."""
    kept = {}
    for part in PARTS:
        path = os.path.join(folder, f"{part}.json")
        if os.path.exists(path):
            with open(path) as file:
                kept[part] = json.load(file)
    return kept


def write(path, value):
    """As a whole or not at all: a run that is ended leaves what was there."""
    with open(f"{path}.new", "w") as file:
        json.dump(value, file, indent=1)
        file.write("\n")
    os.replace(f"{path}.new", path)


if __name__ == "__main__":
    main()
