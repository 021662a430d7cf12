"""The paper's second test: GET and PUT of random sessions among more and more, by the command line and in the daemon.

In the daemon means by its own clock, asked by a program that keeps its connection and moves one session after the other. Whoever asks by
the command line finds a daemon that has slept, whose memory has left the processor's caches: what its clock says then is kept as well.
"""

import json
import os
import random

from tandemlab.processes import LabError
from tandemlab.vici import Vici

from . import common

COUNTS, QUICK_COUNTS = (10, 100, 200, 300, 400, 500, 700, 1000, 10_000), (10, 100)
#: Random sessions of each round, as in the paper, and rounds.
PICKED, ROUNDS, QUICK_ROUNDS = 10, 10, 2


def measure(options):
    common.need(options, "session-generator")
    counts = options.counts or (QUICK_COUNTS if options.quick else COUNTS)
    source, out = random.Random(4), {}
    with common.laboratory(options) as lab:
        gateway, generator = common.alone(lab)
        for count in counts:
            generator.up_to(count)
            samples = {name: [] for name in ("get_cli_ms", "put_cli_ms", "get_slept_ms", "put_slept_ms", "get_ms", "put_ms")}
            rounds = QUICK_ROUNDS if options.quick else ROUNDS
            picked = [f"generated{number}.example.net" for _ in range(rounds) for number in source.sample(range(count), min(PICKED, count))]
            for name in picked:
                _move(lab, gateway, name, samples)
            with Vici(gateway.socket) as vici:
                # Every move takes some of the numbers that an SA without ESN has: of few sessions each is moved once.
                for name in picked if count > 100 else picked[:PICKED]:
                    move_at_once(vici, name, samples)
            owned = int(gateway.status()["sessions_owned"])
            if owned != count:
                raise LabError(f"{owned} of {count} sessions are left")
            out[str(count)] = samples
        # What was taken out and put in again must still be a session on the wire.
        alive = generator.check()
    if alive != counts[-1]:
        raise LabError(f"{alive} of {counts[-1]} sessions answer after GET and PUT")
    return {"sessions": out, "alive": alive}


def _move(lab, gateway, name, samples):
    """Out into a file and in again."""
    path = os.path.join(lab.directory, "context.json")
    for verb, arguments in (("get", [name, "--detach", "-o", path]), ("put", [path])):
        done, took = common.timed(lambda: gateway.command(verb, *arguments, "--json"))
        samples[f"{verb}_cli_ms"].append(round(took, 3))
        samples[f"{verb}_slept_ms"].append(float(json.loads(done.stdout)["took_ms"]))
    os.unlink(path)


def move_at_once(vici, name, samples):
    """Out and in again over a connection that stays."""
    got = vici.request("tandem-get", {"name": name, "detach": "yes"})
    put = vici.request("tandem-put", {"document": got["document"]})
    for verb, answer in (("get", got), ("put", put)):
        samples[f"{verb}_ms"].append(float(answer["took-ms"]))
