#!/usr/bin/env python3
"""A pair of two versions: an earlier one and this one, both ways, and the upgrade from the one to the other under a stock client.

    python3 Lab/upgrade.py --build .build/release --out .build/upgrade [--old REVISION | --old-build FOLDER]

The earlier version is the newest tag `v*`; without one, a commit that speaks today's version of the pair protocol and that the labs
know. It is built once, in `.build/upgrade/<commit>`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time

from demo import add_options, guarded, settings_of
from tandemlab.checks import Checks
from tandemlab.gateway import CONFIGURATION, Pair
from tandemlab.laboratory import Laboratory
from tandemlab.namespaces import NODES
from tandemlab.processes import LabError
from tandemlab.trials.acts import Acts
from tandemlab.trials.wire import check_wire

RATE = 100
TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
#: Before anything that is not released yet was added to the pair protocol; what was added to its messages since is unknown there.
FIRST = "039dea9d918fad3800fde924f251d595555f3aa0"
#: Keys of the labs' configuration that came later: an earlier version refuses what it does not know.
LATER_KEYS = ("control_group",)
BUILD_TIMEOUT_S = 3600


def git(*arguments):
    return subprocess.run(["git", "-C", TREE, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def commit_of(revision):
    if revision is None:
        tags = git("tag", "--list", "v*", "--sort=-version:refname").split()
        revision = tags[0] if tags else FIRST
    return git("rev-parse", f"{revision}^{{commit}}")


def built(commit, folder):
    """The folder with that commit's `tandemd` and `tandem`, built there unless they are there already."""
    tree = os.path.join(folder, commit)
    programs = os.path.join(tree, ".build", "release")
    if all(os.path.exists(os.path.join(programs, name)) for name in ("tandemd", "tandem")):
        return programs
    print(f"… builds {commit[:12]}", flush=True)
    os.makedirs(tree, exist_ok=True)
    archive = subprocess.Popen(["git", "-C", TREE, "archive", commit], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", tree], stdin=archive.stdout, check=True)
    if archive.wait() != 0:
        raise LabError(f"cannot read commit {commit}")
    if not os.path.exists(os.path.join(tree, "Package.resolved")):
        shutil.copy(os.path.join(TREE, "Package.resolved"), tree)
    for product in ("tandemd", "tandem"):
        done = subprocess.run(
            ["swift", "build", "-c", "release", "--static-swift-stdlib", "--product", product], cwd=tree, capture_output=True, text=True,
            timeout=BUILD_TIMEOUT_S)
        if done.returncode != 0:
            raise LabError(f"commit {commit} does not build\n{done.stdout[-2000:]}")
    return programs


def configuration():
    """What both versions know."""
    return "\n".join(line for line in CONFIGURATION.split("\n") if not line.startswith(LATER_KEYS))


class Mixed:
    """One laboratory whose nodes are of two versions."""

    def __init__(self, lab, checks, builds):
        self.lab, self.checks = lab, checks
        lab.pair = Pair(lab.network, lab.directory, builds[NODES[1]], lab.settings.dataplane, lab.settings.heartbeat)
        for name, node in lab.pair.nodes.items():
            node.build = builds[name]
            node.configure(configuration())
        lab.at_end(lab.pair.stop)
        lab.pair.start()
        lab.pair.wait_paired()
        lab.start_client()
        lab.start_probes(RATE)

    def upgrade(self, new):
        """The standby first, then a switchover, then the other: what an operator does."""
        old_proof = self.lab.client.proof()
        for _ in NODES:
            active, standby = self.lab.pair.wait_paired()
            if standby.build != new:
                standby.stop()
                standby.build = new
                standby.start()
                active, standby = self.lab.pair.wait_paired()
            if active.build != new:
                active.command("switchover")
        self.lab.pair.wait_paired()
        self.lab.probes.wait_flowing(time.monotonic())
        same = self.lab.client.proof() == old_proof
        self.checks.expect("upgraded one by one: the same tunnel, and it flows", same, ", ".join(
            f"{node.name} {node.status()['version']}" for node in self.lab.pair.nodes.values()))


def perform(settings, options):
    os.makedirs(options.out, exist_ok=True)
    folder = os.path.abspath(options.out)
    old = os.path.abspath(options.old_build) if options.old_build else built(commit_of(options.old), folder)
    new, checks, result = settings.build, Checks("A pair of two versions"), {}
    for builds in ({"sg1": old, "sg2": new}, {"sg1": new, "sg2": old}):
        earlier = next(name for name in NODES if builds[name] == old)
        print(f"— {earlier} is of the earlier version", flush=True)
        with Laboratory(settings) as lab:
            mixed = Mixed(lab, checks, builds)
            acts = Acts(lab, checks)
            seen = [acts.run(kind, f"{index + 1} ({kind})") for index, kind in enumerate(("kill", "kill", "switchover", "switchover"))]
            mixed.upgrade(new)
            found = check_wire(lab, checks)
        again = len(found.authentications) - 1
        checks.expect("the client authenticated once, and never again", again == 0, f"{again + 1} IKE_AUTH")
        result[f"earlier_{earlier}"] = {"acts": [act.result() for act in seen], "authentications": again}
    result |= {"passed": len(checks.passed), "failed": checks.failed}
    with open(os.path.join(options.out, "result.json"), "w") as file:
        json.dump(result, file, indent=2)
        file.write("\n")
    return checks.close()


def main():
    parser = argparse.ArgumentParser(description="A pair of two versions, and an upgrade.")
    add_options(parser, out=".build/upgrade")
    parser.add_argument("--old", help="revision of the earlier version")
    parser.add_argument("--old-build", help="folder with its tandemd and tandem, if they are built")
    options = parser.parse_args()
    sys.exit(guarded(lambda: perform(settings_of(options), options)))


if __name__ == "__main__":
    main()
