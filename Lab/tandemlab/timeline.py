"""What happened when: the events of a run, each with what the probes, the recording and the new active say of it."""

import time
from dataclasses import dataclass, field, replace

#: How long after traffic flows again the probes still count for the event's blackout; what is lost counts until the next event.
BLACKOUT_TAIL_S = 0.5
SETTLE_S = 1.5


def wall_to_monotonic(wall_ms):
    return wall_ms / 1000 - (time.time() - time.monotonic())


def words(key):
    """`client_to_server` as people read it."""
    return key.replace("_to_", " → ")


@dataclass
class Event:
    """Something that was done to the pair, and its span."""

    kind: str
    text: str
    at: float
    #: The node that carries on, when it is a takeover.
    successor: str = ""
    rate: int = 100
    #: The end of the span in which the blackout is looked for, and of that in which lost probes are counted.
    blackout_until: float = 0.0
    until: float = 0.0
    takeover: dict = field(default_factory=dict)
    interruptions: dict = field(default_factory=dict)
    #: Of the whole span, the time after the blackout included.
    longest_gap_ms: float = 0.0
    first_esp: float | None = None
    first_announcement: float | None = None

    @property
    def blackout_ms(self):
        """The worse direction's."""
        return max((i.blackout_ms for i in self.interruptions.values()), default=0.0)

    @property
    def lost(self):
        """The worse direction's."""
        return max((i.lost for i in self.interruptions.values()), default=0)

    @property
    def detected(self):
        """When the successor began its takeover; it says so in whole milliseconds of wall time."""
        return wall_to_monotonic(float(self.takeover["at_ms"])) if self.takeover else None

    def steps(self):
        """(monotonic seconds of its end, name, duration in ms) of each step, in order."""
        moment, found = self.detected, []
        for step in self.takeover.get("steps", []):
            took = float(step["took_ms"])
            moment += took / 1000
            found.append((moment, step["name"], took))
        return found

    def measure(self, directions, records):
        for direction in directions:
            interval_ms, known = 1000 / self.rate, records[direction.name]
            whole = direction.interruption(self.at, self.until, interval_ms, known)
            near = direction.interruption(self.at, self.blackout_until or self.until, interval_ms, known)
            self.interruptions[direction.key] = replace(near, lost=whole.lost, sent=whole.sent)
            self.longest_gap_ms = max(self.longest_gap_ms, whole.blackout_ms)

    def observe(self, findings, hardware_address):
        """The successor's first packets as the switch saw them."""
        self.first_esp = findings.first_esp(hardware_address, self.at)
        self.first_announcement = findings.first_announcement(hardware_address, self.at)

    def lines(self, start):
        """The event as people read it; times are seconds since `start`, then milliseconds since the event."""

        def after(moment):
            return f"{(moment - self.at) * 1000:+9.1f} ms"

        marks = [(self.at, self.text)]
        if self.takeover:
            marks.append((self.detected, f"{self.successor} begins: {self.takeover['cause']}, epoch {self.takeover['epoch']}"))
            marks += [(moment, f"  {name} ({took:.3f} ms)") for moment, name, took in self.steps()]
        if self.first_announcement:
            marks.append((self.first_announcement, f"first announcement by {self.successor} on the switch"))
        if self.first_esp:
            marks.append((self.first_esp, f"first ESP packet from {self.successor} on the switch"))
        for name, gap in self.interruptions.items():
            if gap.blackout_ms > 1000 / self.rate:
                marks.append((gap.first_after, f"first probe {words(name)} again"))
        shown = [f"{self.at - start:8.3f} s {after(moment)}  {text}" for moment, text in sorted(marks, key=lambda m: m[0])]
        for name, gap in self.interruptions.items():
            shown.append(f"{'':25}{words(name)}: blackout {gap.blackout_ms:.1f} ms, {gap.lost} of {gap.sent} probes lost")
        return shown

    def result(self):
        """For result.json; milliseconds since the event."""

        def after(moment):
            return None if moment is None else round((moment - self.at) * 1000, 3)

        return {
            "kind": self.kind, "text": self.text, "successor": self.successor,
            "blackout_ms": round(self.blackout_ms, 3), "lost": self.lost,
            "longest_gap_ms": round(self.longest_gap_ms, 3),
            "probe_rate": self.rate, "cause": self.takeover.get("cause"), "epoch": self.takeover.get("epoch"),
            "detected_ms": after(self.detected), "first_esp_ms": after(self.first_esp),
            "first_announcement_ms": after(self.first_announcement),
            "steps": [{"name": name, "at_ms": after(moment), "took_ms": took} for moment, name, took in self.steps()],
            "directions": {
                name: {
                    "blackout_ms": round(gap.blackout_ms, 3), "lost": gap.lost, "sent": gap.sent, "first_after_ms": after(gap.first_after),
                    "sender_stall_ms": round(gap.sender_stall_ms, 3)}
                for name, gap in self.interruptions.items()}}


class Lanes:
    """What each gateway was from when to when."""

    def __init__(self):
        self._changes = {}

    def set(self, node, state, at):
        self._changes.setdefault(node, []).append((at, state))

    def segments(self, node, end):
        """(from, to, state) without gaps."""
        merged = []
        changes = sorted(self._changes.get(node, []))
        for (at, state), (following, _) in zip(changes, [*changes[1:], (end, "")]):
            if merged and merged[-1][2] == state:
                merged[-1] = (merged[-1][0], following, state)
            elif following > at:
                merged.append((at, following, state))
        return merged
