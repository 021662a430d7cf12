#!/usr/bin/env python3
"""Searches for inputs that break a codec: every fuzz target for some seconds, from the kept corpus on.

    python3 Fuzz/fuzz.py --program .build/fuzz-build/release/tandem-fuzz --out .build/fuzz --seconds 60 [--only vici,esp] [--keep]

What a target reached is in OUT/result.json; an input that broke one is in OUT/TARGET. With --keep what reached new code is added to
the corpus, which is made as small as it can be without reaching less. Exit status 0 when nothing broke.
"""

import argparse
import concurrent.futures
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import time

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "Corpus")
#: Seconds for one input: a thousand times what the slowest takes.
INPUT_SECONDS_MAX = 10
#: MiB for a target's process, the sanitizer's shadow included.
MEMORY_MIB_MAX = 2048
#: A trap is a finding, not a case for Swift's own interactive report; libcrypto keeps some memory until the end.
ENVIRONMENT = {**os.environ, "SWIFT_BACKTRACE": "enable=no", "ASAN_OPTIONS": "detect_leaks=0:symbolize=1"}
CRASHES = ("crash-", "timeout-", "oom-", "slow-unit-")


class Target:
    def __init__(self, name, options):
        self.name, self.options = name, options
        self.corpus = os.path.join(CORPUS, name)
        self.folder = os.path.join(options.out, name)
        self.found = os.path.join(self.folder, "found")

    def prepare(self):
        """The corpus, the program's own first inputs, and a folder for what comes."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.found)
        os.makedirs(self.corpus, exist_ok=True)
        seeds = os.path.join(self.folder, "seeds")
        os.makedirs(seeds)
        subprocess.run([self.options.program, "seed", self.name, seeds], check=True, env=ENVIRONMENT)
        return seeds

    def run(self):
        seeds = self.prepare()
        start = time.monotonic()
        done = self._fuzzer(
            f"-max_total_time={self.options.seconds}", "-use_value_profile=1", self.found, self.corpus, seeds,
            timeout=self.options.seconds + 120)
        log = done.stderr.decode(errors="replace")
        with open(os.path.join(self.folder, "log"), "w") as file:
            file.write(log)
        crashes = sorted(path for kind in CRASHES for path in glob.glob(os.path.join(self.folder, f"{kind}*")))
        if done.returncode != 0 and not crashes:
            crashes = [f"exit status {done.returncode}: see {self.folder}/log"]
        if self.options.keep and not crashes:
            self._merge(seeds)
        return {
            "executions": _last(r"stat::number_of_executed_units: (\d+)", log), "coverage_edges": _last(r"cov: (\d+)", log),
            "features": _last(r"ft: (\d+)", log), "corpus": len(os.listdir(self.corpus)), "peak_rss_mib": _last(r"stat::peak_rss_mb: +(\d+)", log),
            "seconds": round(time.monotonic() - start, 1), "crashes": crashes,
        }

    def _merge(self, seeds):
        """The fewest files that reach as much as all that is known."""
        merged = os.path.join(self.folder, "merged")
        os.makedirs(merged)
        # Regressions stay, whatever they reach.
        kept = glob.glob(os.path.join(self.corpus, "found-*"))
        done = self._fuzzer("-merge=1", merged, self.corpus, seeds, self.found, timeout=600)
        if done.returncode != 0 or not os.listdir(merged):
            sys.exit(f"cannot merge what {self.name} found:\n{done.stderr.decode(errors='replace')[-2000:]}")
        for path in glob.glob(os.path.join(self.corpus, "*")):
            if path not in kept:
                os.unlink(path)
        for path in glob.glob(os.path.join(merged, "*")):
            shutil.copy(path, self.corpus)

    def _fuzzer(self, *arguments, timeout):
        return subprocess.run(
            [
                self.options.program, self.name, f"-artifact_prefix={self.folder}/", f"-timeout={INPUT_SECONDS_MAX}",
                f"-rss_limit_mb={MEMORY_MIB_MAX}", "-print_final_stats=1", "-verbosity=1", *arguments,
            ], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT, timeout=timeout, check=False)


def _last(pattern, text):
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def main():
    parser = argparse.ArgumentParser(description="Searches for inputs that break a codec.")
    parser.add_argument("--program", default=".build/fuzz-build/release/tandem-fuzz")
    parser.add_argument("--out", default=".build/fuzz")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--only", help="comma-separated targets")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="targets at a time")
    parser.add_argument("--keep", action="store_true", help="add what reached new code to the corpus, and make that small")
    options = parser.parse_args()
    names = subprocess.run([options.program, "list"], check=True, capture_output=True, text=True, env=ENVIRONMENT).stdout.split()
    wanted = options.only.split(",") if options.only else names
    unknown = set(wanted) - set(names)
    if unknown:
        sys.exit(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    results = {}
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        runs = {pool.submit(Target(name, options).run): name for name in wanted}
        for run in concurrent.futures.as_completed(runs):
            name, result = runs[run], run.result()
            results[name] = result
            said = "; ".join(result["crashes"]) or "nothing broke"
            print(f"{'FAIL' if result['crashes'] else 'ok  '} {name}: {result['executions']} inputs, {result['coverage_edges']} edges, {said}", flush=True)
    with open(os.path.join(options.out, "result.json"), "w") as file:
        json.dump({"seconds_each": options.seconds, "targets": dict(sorted(results.items()))}, file, indent=2)
        file.write("\n")
    broken = [name for name, result in results.items() if result["crashes"]]
    print(f"{len(results) - len(broken)} passed, {len(broken)} failed")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
