#!/usr/bin/env python3
"""The demo: a pair of gateways is killed, cut and switched over under one download by a stock strongSwan client.

    python3 Lab/demo.py --build .build/release --out .build/demo

Exit status 0 when everything held; the timeline is printed, drawn (timeline.svg) and left as result.json.
"""

import argparse
import json
import os
import sys
import time

from tandemlab.checks import Checks
from tandemlab.drawing import draw
from tandemlab.laboratory import Laboratory, Settings
from tandemlab.processes import LabError, wait_until
from tandemlab.timeline import BLACKOUT_TAIL_S, SETTLE_S, Event, Lanes

#: What the project promises (milliseconds of blackout, probes).
LIMITS_MS = {"kill": 100, "cut": 250, "switchover": 20}
LOST_SWITCHOVER_MAX = 2
RATE = 100


class Demo:
    """The acts, in order, and what is known after them."""

    def __init__(self, lab, options):
        self.lab, self.options = lab, options
        self.events, self.lanes = [], Lanes()
        self.start = time.monotonic()

    def set_up(self):
        say("two gateways, a stock strongSwan client and a server start")
        self.active, self.standby = self.lab.start_pair()
        self.proof = self.lab.start_client()
        self.lab.start_probes(RATE)
        self.lab.start_download(self.options.rate, self.options.bytes)
        self.start = time.monotonic()
        for node in (self.active, self.standby):
            self.lanes.set(node.name, "active" if node is self.active else "standby", self.start)
        say(f"{self.active.name} is active; the client has {self.proof.virtual_address}; the download runs")

    def kill(self):
        self.wait_for_download(0.12)
        event = self.takeover("kill", f"SIGKILL of {self.active.name}'s tandemd", lambda: self.active.kill(), "dead")
        lost = self.standby
        self.note("return", f"{lost.name} is started again", lost.start)
        self.lanes.set(lost.name, "syncing", self.events[-1].at)
        self.wait_paired(lost)
        return event

    def cut(self):
        self.wait_for_download(0.40)
        active = self.active
        self.takeover("cut", f"all three links of {active.name} are cut", lambda: self.lab.network.cut(active.name), "cut")
        lost = self.standby
        self.note("heal", f"{lost.name}'s links are healed", lambda: self.lab.network.heal(lost.name))
        self.lanes.set(lost.name, "syncing", self.events[-1].at)
        self.wait_paired(lost)

    def switchover(self):
        self.wait_for_download(0.70)
        self.lab.probes.set_rate(self.options.switchover_rate)
        time.sleep(0.5)
        active, said = self.active, {}

        def switch():
            said.update(json.loads(active.command("switchover", "--json").stdout))

        event = self.takeover("switchover", f"tandem switchover on {active.name}", switch, "standby", rate=self.options.switchover_rate)
        self.lab.probes.set_rate(RATE)
        self.switchover_said = said
        self.wait_paired(self.standby)
        return event

    def takeover(self, kind, text, action, state_after, rate=RATE):
        """Does something to the active, waits until the other has taken over and traffic flows."""
        old, new = self.active, self.standby
        epoch = int(new.status()["epoch"])
        event = Event(kind, text, time.monotonic(), successor=new.name, rate=rate)
        say(text)
        action()
        self.events.append(event)
        event.takeover = self.lab.pair.wait_active(new, epoch)["last_takeover"]
        self.lab.probes.wait_flowing(time.monotonic())
        event.blackout_until = time.monotonic() + BLACKOUT_TAIL_S
        time.sleep(SETTLE_S)
        event.until = time.monotonic()
        self.lab.download.check_alive()
        self.lanes.set(old.name, state_after, event.at)
        self.lanes.set(new.name, "active", event.detected)
        self.active, self.standby = new, old
        return event

    def note(self, kind, text, action):
        """Something that must disturb nobody."""
        say(text)
        event = Event(kind, text, time.monotonic(), rate=RATE)
        self.events.append(event)
        action()
        return event

    def wait_paired(self, returned):
        """Without a word from the operator: the node that came back stands by, and the pair is paired."""
        active, standby = self.lab.pair.wait_paired()
        if standby is not returned:
            raise LabError(f"{returned.name} came back as active")
        now = time.monotonic()
        self.lanes.set(returned.name, "standby", now)
        if not self.events[-1].until:
            time.sleep(0.3)
            self.events[-1].until = time.monotonic()
        say(f"paired: {active.name} active, {standby.name} standby")

    def wait_for_download(self, share):
        goal = share * self.options.bytes
        self.lab.download.check_alive()
        patience = self.options.bytes / self.options.rate * 3 + 30
        wait_until("the download's progress", lambda: self.lab.download.bytes_so_far() >= goal, patience)

    def finish(self):
        """The download's end, and what client and switch saw of it all."""
        say("the download finishes")
        self.served, self.fetched = self.lab.download.finish(self.options.bytes / self.options.rate * 3 + 60)
        self.proof_at_end = self.lab.client.proof()
        self.replay_drops = self.lab.client.replay_drops()
        self.end = time.monotonic()
        hardware = {name: self.lab.network.hardware_address(name, "eth0") for name in self.lab.pair.nodes}
        self.lab.end_all()
        self.findings = self.lab.recorder.findings()
        directions = self.lab.probes.directions
        self.progress = self.lab.download.progress()
        self.records = {direction.name: direction.read() for direction in directions}
        for event in self.events:
            event.measure(directions, self.records)
            if event.successor:
                event.observe(self.findings, hardware[event.successor])


def say(text):
    print(f"… {text}", flush=True)


def judge(demo, times_count):
    """All checks; returns them with the result document."""
    checks = Checks("\nChecks")
    by_kind = {event.kind: event for event in demo.events}
    for kind, limit in LIMITS_MS.items():
        event = by_kind[kind]
        seen = f"{event.blackout_ms:.1f} ms, {f'at most {limit}' if times_count else 'not judged here'}"
        checks.expect(f"blackout by {kind}", event.blackout_ms <= limit or not times_count, seen)
    lost, stream = by_kind["switchover"].lost, f"{by_kind['switchover'].rate}/s stream"
    checks.expect("probes lost by switchover", lost <= LOST_SWITCHOVER_MAX or not times_count, f"{lost} of a {stream}")
    for kind in ("return", "heal"):
        event = by_kind[kind]
        checks.expect(f"{kind} disturbs nobody", event.lost == 0 or not times_count, f"{event.blackout_ms:.1f} ms, {event.lost} lost")
    result = {f"blackout_{kind}_ms": round(by_kind[kind].blackout_ms, 3) for kind in LIMITS_MS}
    result["lost_switchover"] = lost
    for kind in LIMITS_MS:
        result[f"blackout_{kind}_each_way_ms"] = {
            name: round(gap.blackout_ms, 3) for name, gap in by_kind[kind].interruptions.items()}
    result.update(_judge_tunnel(demo, checks))
    result.update(_judge_wire(demo, checks))
    checks.expect("nothing is left running", not demo.lab.left_behind, f"{len(demo.lab.left_behind)} processes")
    result["events"] = [event.result() for event in demo.events]
    result["ok"] = not checks.failed
    return checks, result


def _judge_tunnel(demo, checks):
    before, after, fetched, served = demo.proof, demo.proof_at_end, demo.fetched, demo.served
    one_connection = served["connections"] == 1 and served["remote"] == fetched["opened"]["local"]
    same = {
        "ike_sa_same": before.ike == after.ike, "child_sa_same": before.child == after.child,
        "tcp_same": fetched["opened"] == fetched["closed"] and one_connection,
        "checksum_same": fetched["sha256"] == served["sha256"] and fetched["bytes"] == served["bytes"] >= demo.options.bytes,
    }
    ike, child = f"#{after.ike_unique_id}, SPIs {' '.join(after.ike_spis)}", f"#{after.child_unique_id}, SPIs {' '.join(after.child_spis)}"
    checks.expect("the client's IKE SA is the same", same["ike_sa_same"], ike)
    checks.expect("the client's CHILD SA is the same", same["child_sa_same"], child)
    checks.expect("the TCP connection is the same", same["tcp_same"], f"{fetched['opened']['local']} → {fetched['opened']['remote']}")
    checks.expect(
        "the file is the same at both ends", same["checksum_same"], f"{fetched['bytes']} bytes, SHA-256 {fetched['sha256'][:16]}…")
    return {**same, "bytes": fetched["bytes"], "sha256": fetched["sha256"]}


def _judge_wire(demo, checks):
    found, dropped = demo.findings, demo.lab.recorder.dropped
    checks.expect("the recording is complete", dropped == 0, f"{found.packets} packets, {dropped} not kept")
    drops = f"{demo.replay_drops}; {len(found.late_numbers)} came late on the wire"
    checks.expect("no ESP packet was dropped as a replay by the client", demo.replay_drops == 0, drops)
    checks.expect("no ESP number was used twice", not found.reused_numbers, _esp_seen(found))
    checks.expect("no IKE IV was used twice", not found.reused_ivs, str(found.reused_ivs[:2] or 0))
    checks.expect("no IKE message ID was used twice", not found.reused_message_ids, str(found.reused_message_ids[:2] or 0))
    checks.expect("no packet in clear", not found.clear, str(found.clear[:2] or 0))
    return {
        "replay_drops": demo.replay_drops, "clear_packets": len(found.clear), "reused_esp_numbers": len(found.reused_numbers),
        "late_esp_numbers": len(found.late_numbers),
        "reused_ike_ivs": len(found.reused_ivs), "reused_message_ids": len(found.reused_message_ids),
        "recorded_packets": found.packets, "recorder_dropped": dropped}


def _esp_seen(found):
    return f"{len(found.esp)} SPIs, {len(found.esp_times)} packets; {found.forwarded} sent on by a host that had given up the address"


def report(demo, out):
    print("\nTimeline")
    for event in demo.events:
        print("\n".join(event.lines(demo.start)), flush=True)
    title = "Tandem: one tunnel, one download; its gateway killed, cut and switched over"
    subtitle = (
        f"{demo.fetched['bytes'] / 1e6:.0f} MB over one TCP connection in {demo.end - demo.start:.0f} s, stock strongSwan "
        f"({demo.lab.client.kernel}), the same IKE SA and CHILD SA throughout")
    with open(os.path.join(out, "timeline.svg"), "w") as file:
        file.write(draw(title, subtitle, demo.start, demo.end, demo.lanes, demo.events, demo.records, demo.progress))


def perform(settings, options):
    """Runs the demo and returns the exit status."""
    os.makedirs(options.out, exist_ok=True)
    for name in ("result.json", "timeline.svg"):
        if os.path.exists(os.path.join(options.out, name)):
            os.unlink(os.path.join(options.out, name))
    with Laboratory(settings) as lab:
        demo = Demo(lab, options)
        demo.set_up()
        demo.kill()
        demo.cut()
        demo.switchover()
        demo.finish()
        report(demo, options.out)
    checks, result = judge(demo, not options.report_times_only)
    with open(os.path.join(options.out, "result.json"), "w") as file:
        json.dump(result, file, indent=2)
        file.write("\n")
    print(f"{options.out}/timeline.svg  {options.out}/result.json")
    return checks.close()


def main():
    parser = argparse.ArgumentParser(description="A pair that survives a kill, with a stock client.")
    add_options(parser, out=".build/demo")
    parser.add_argument("--bytes", type=lambda text: int(float(text)), default=210_000_000, help="size of the download (at least)")
    parser.add_argument("--switchover-rate", type=int, default=1000, help="probes a second during the switchover")
    parser.add_argument("--rate", type=float, default=4.5e6, help="bytes a second")
    options = parser.parse_args()
    sys.exit(guarded(lambda: perform(settings_of(options), options)))


def add_options(parser, out):
    parser.add_argument("--build", default=".build/release", help="folder with tandemd and tandem")
    parser.add_argument("--out", default=out, help="folder for results")
    parser.add_argument("--client", default="kernel-libipsec", choices=["kernel-libipsec", "kernel-netlink"])
    parser.add_argument("--dataplane", default="auto", choices=["auto", "user", "kernel"])
    parser.add_argument("--heartbeat", help="the pair's heartbeat interval, as in 200ms (default: the daemon's own)")
    parser.add_argument("--report-times-only", action="store_true", help="times are printed, not judged (slow machines)")
    parser.add_argument("--keep", action="store_true", help="keep logs and recording")


def settings_of(options):
    return Settings(
        build=os.path.abspath(options.build), client_kernel=options.client, dataplane=options.dataplane, heartbeat=options.heartbeat,
        keep=options.keep)


def guarded(body):
    """The exit status of `body`; a laboratory that cannot go on says why."""
    try:
        return body()
    except LabError as error:
        print(f"FAIL {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; everything was cleaned up", file=sys.stderr)
        return 130


if __name__ == "__main__":
    main()
