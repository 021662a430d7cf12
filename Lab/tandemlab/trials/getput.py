"""The paper's third test with a stock client: a download, GET, T_S seconds of nothing, PUT, and the download goes on."""

import json
import os
import re
import stat
import time

from ..processes import wait_until

#: Seconds between GET and PUT.
SLEEPS = (1, 3, 10)


def getput(lab, checks, active, standby):
    proof = lab.client.proof()
    logged, asked = lab.client.log().count("IKE_AUTH request"), lab.client.log().count("sending DPD request")
    figures = []
    _refusals(checks, active, standby)
    for seconds in SLEEPS:
        figures.append(_once(lab, checks, active, standby, proof, seconds))
    # The standby holds what came by PUT: it carries on with it.
    active.command("switchover")
    lab.pair.wait_paired()
    lab.probes.wait_flowing(time.monotonic())
    standby.command("switchover")
    lab.pair.wait_paired()
    lab.probes.wait_flowing(time.monotonic())
    checks.expect("a switchover after a PUT keeps the SAs", lab.client.proof() == proof)
    authentications = lab.client.log().count("IKE_AUTH request") - logged
    checks.expect("the client never authenticates again", logged > 0 and authentications == 0, f"{logged} before, {authentications} since")
    # None when other trials run too: their client does not ask.
    print(f"  the client asked {lab.client.log().count('sending DPD request') - asked} times whether the gateway lives", flush=True)
    return figures


def _once(lab, checks, active, standby, proof, seconds):
    """GET, T_S, PUT; returns what it took."""
    path = os.path.join(lab.directory, f"context-{seconds}.json")
    passphrase = active.write("passphrase", "correct horse\n", mode=0o600)
    sealing = ["--passphrase-file", passphrase] if seconds == SLEEPS[0] else []
    began = time.monotonic()
    taken = active.command("get", proof.virtual_address, "--detach", "-o", path, *sealing, "--json")
    got = time.monotonic()
    summary = json.loads(taken.stdout)
    checks.expect(f"{seconds} s: GET", summary["kind"] == "detached" and "document" not in summary, taken.stderr.strip())
    mode = stat.S_IMODE(os.stat(path).st_mode)
    checks.expect(f"{seconds} s: the file is root's alone", mode == 0o600, oct(mode))
    held = wait_until("the session is gone", lambda: _gone(active) and _gone(standby), timeout=5)
    checks.expect(f"{seconds} s: neither node holds it", held)
    frozen = lab.download.bytes_so_far()
    time.sleep(seconds)
    still = lab.download.bytes_so_far()
    checks.expect(f"{seconds} s: nothing flows meanwhile", still - frozen < 64 * 1024, f"{still - frozen} bytes")
    put_at = time.monotonic()
    put = active.command("put", path, *sealing, check=False)
    done = time.monotonic()
    checks.expect(f"{seconds} s: PUT", put.returncode == 0, (put.stdout + put.stderr).strip()[-160:])
    lab.probes.wait_flowing(done)
    wait_until("the download goes on", lambda: lab.download.bytes_so_far() > still + 64 * 1024, timeout=90)
    resumed = time.monotonic()
    checks.expect(f"{seconds} s: the same IKE SA and CHILD SA", lab.client.proof() == proof)
    lab.pair.wait_paired()
    figures = {
        "sleep_s": seconds, "get_ms": round((got - began) * 1000, 1), "put_ms": round((done - put_at) * 1000, 1),
        "download_resumed_s": round(resumed - done, 2)}
    print(f"  {figures}", flush=True)
    return figures


def _refusals(checks, active, standby):
    """What GET and PUT say no to, with the session left as it was."""
    nobody = active.command("get", "nobody", "-o", "-", check=False)
    checks.expect("GET of nobody is refused", nobody.returncode == 1 and "no session" in nobody.stderr, nobody.stderr.strip())
    passive = standby.command("get", "road", "-o", "-", check=False)
    checks.expect("GET from the standby is refused", passive.returncode == 1 and "ask the active" in passive.stderr, passive.stderr.strip())
    snapshot = active.command("get", "road", "-o", "-")
    kept = active.write("snapshot.json", snapshot.stdout, mode=0o600)
    here = active.command("put", kept, check=False)
    checks.expect("PUT of what is here is refused", here.returncode == 2 and "here already" in here.stderr, here.stderr.strip())
    changed = active.write("damaged.json", re.sub(r'"next_send_id": (\d+)', r'"next_send_id": 9\1', snapshot.stdout, count=1), mode=0o600)
    damaged = active.command("put", changed, check=False)
    checks.expect("PUT of a changed file is refused", damaged.returncode == 2 and "damaged" in damaged.stderr, damaged.stderr.strip())


def _gone(gateway):
    return not json.loads(gateway.command("sessions", "--json").stdout)["sessions"]
