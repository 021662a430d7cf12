#!/usr/bin/env python3
"""Runs seeds of the simulator on every core, and writes what came of them.

With --breaks, each deliberate fault must be found within so many seeds; a fault that no checker finds ends the run with 1.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

# Law by law; "strange-chance" is found by comparing two runs of one seed, the others by the checkers.
BREAKS = [
    "lost-change", "early-acknowledgement", "forgotten-lease", "open-gate", "strange-chance", "cold-standby", "fatal-input",
    "false-status",
]
# Every so many-th seed is run twice, in two processes.
REPEATED = 50


def lines(process):
    out, _ = process.communicate()
    return [json.loads(line) for line in out.splitlines()]


def run(program, first, seeds, *more):
    """One process for each core; all their lines."""
    cores = os.cpu_count() or 1
    processes = [
        subprocess.Popen(
            [program, "--first", str(first + core), "--seeds", str(max(0, seeds - core)), "--stride", str(cores), *more],
            stdout=subprocess.PIPE, text=True)
        for core in range(min(cores, seeds))
    ]
    found = [line for process in processes for line in lines(process)]
    if sum("failures" in line for line in found) != len(processes):
        sys.exit("simulate: a process ended before its last seed")
    return found


def digests(found):
    return {line["seed"]: line["digest"] for line in found if "digest" in line}


def differing(program, first, seeds, found, *more):
    """Seeds that were another run when run again."""
    known = digests(found)
    again = {}
    for seed in sorted(known):
        again.update(digests(run(program, seed, 1, "--digests", "1", *more)))
    return [seed for seed in sorted(known) if known[seed] != again.get(seed)]


def check_breaks(program, first, seeds):
    result = {}
    for name in BREAKS:
        found = run(program, first, seeds if name != "strange-chance" else REPEATED, "--break", name, "--until-failure",
                    "--digests", "1" if name == "strange-chance" else "0")
        if name == "strange-chance":
            at = next(iter(differing(program, first, REPEATED, found, "--break", name)), None)
        else:
            at = min((line["seed"] for line in found if "failure" in line), default=None)
        result[name] = at
        print(f"  {name}: {'NOT FOUND' if at is None else f'found with seed {at}'}", flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default=".build/release/tandem-simulate")
    parser.add_argument("--out", default=".build/simulate", type=pathlib.Path)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--breaks", type=int, default=500, help="seeds in which each deliberate fault must be found; 0: not tried")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    began = time.monotonic()
    found = run(options.program, options.first, options.seeds, "--digests", str(REPEATED))
    violations = sorted((line for line in found if "failure" in line), key=lambda line: line["seed"])
    others = differing(options.program, options.first, options.seeds, found)
    seconds = time.monotonic() - began
    count = sum(line["seeds"] for line in found if "seeds" in line)
    virtual = sum(line["virtual_seconds"] for line in found if "seeds" in line)
    print(f"{count} seeds, {virtual / 3600:.1f} hours of virtual time in {seconds:.0f} s: {len(violations)} violations, "
          f"{len(others)} of {len(digests(found))} repeated seeds were another run")
    for line in violations:
        path = options.out / f"seed-{line['seed']}.txt"
        path.write_text(line["failure"] + "\n")
        print(f"  seed {line['seed']}: {line['failure'].splitlines()[0]} (trace: {path})")
    for seed in others:
        print(f"  seed {seed} is not the same run twice")
    breaks = check_breaks(options.program, options.first, options.breaks) if options.breaks else {}

    (options.out / "result.json").write_text(json.dumps({
        "first": options.first, "seeds": count, "violations": len(violations), "not_repeatable": len(others),
        "seconds": round(seconds, 1), "virtual_seconds": round(virtual), "breaks_found_at_seed": breaks,
    }, indent=2) + "\n")
    if count != options.seeds or violations or others or None in breaks.values():
        sys.exit(1)


if __name__ == "__main__":
    main()
