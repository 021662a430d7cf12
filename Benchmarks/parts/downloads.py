"""The paper's third test, scaled: a download over GET, T_S seconds of nothing, and PUT."""

import os
import time

from tandemlab.download import Download
from tandemlab.namespaces import SERVER
from tandemlab.processes import LabError

from . import common

#: Of the paper's table I, seconds between GET and PUT, bytes a second, bytes.
FULL = [(pause, rate, size) for pause in (10, 30, 60) for rate, size in (
    (10e3, 1e6), (100e3, 5e6), (500e3, 20e6), (1e6, 20e6), (2e6, 20e6), (3e6, 100e6), (5e6, 100e6), (10e6, 100e6))]
#: A tenth of the pauses, and files that take some seconds.
SCALED = [(pause, rate, rate * 4) for pause in (1, 3, 6) for rate in (100e3, 500e3, 1e6, 2e6)]
BEFORE_S, BEFORE_FULL_S = 1.0, 5.0
#: How often the scaled table is gone through; the full one once.
ROUNDS = 5
#: Each PUT leaves sequence numbers behind, and an SA without ESN has so many: it is rekeyed after as many downloads as this.
REKEYED_AFTER = 12


def measure(options):
    table = FULL if options.full_table else SCALED[:2] if options.quick else SCALED * (options.repeats or ROUNDS)
    before, out = BEFORE_FULL_S if options.full_table else BEFORE_S, []
    with common.laboratory(options) as lab:
        lab.start_pair()
        lab.start_client()
        proof = lab.client.proof()
        for number, (pause, rate, size) in enumerate(table):
            if number and number % REKEYED_AFTER == 0:
                before_rekey = proof
                lab.client.rekey_child("net")
                proof = lab.client.settled_proof(unlike=lambda now: now.child_spis != before_rekey.child_spis)
            active, _ = lab.pair.wait_paired()
            path = os.path.join(lab.directory, "context.json")
            download = Download(lab.network, lab.directory, proof.virtual_address, SERVER, rate, size)
            began = time.monotonic()
            time.sleep(before)
            active.command("get", "road", "--detach", "-o", path)
            time.sleep(pause)
            # On a busy machine heartbeats may have been late in a minute: the context is put to whoever is active by now.
            active, _ = lab.pair.wait_paired()
            active.command("put", path)
            os.unlink(path)
            served, fetched = download.finish(600)
            took = time.monotonic() - began
            download.stop()
            if served["sha256"] != fetched["sha256"] or served["connections"] != 1:
                raise LabError(f"{size:g} bytes at {rate:g} a second over {pause} s: not the same bytes in one connection")
            if lab.client.proof() != proof:
                raise LabError("the client has other security associations than before")
            out.append({"pause_s": pause, "rate": rate, "size": size, "seconds": round(took, 2), "without_pause_s": round(size / rate, 2)})
    return {"full_table": options.full_table, "table": out}
