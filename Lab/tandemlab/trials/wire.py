"""At the end of a run: what the recording and the client say of all of it, and that nothing is left."""

from ..namespaces import NODES


def check_wire(lab, checks):
    """Ends every program, reads the recording, and judges."""
    drops = lab.client.replay_drops()
    lab.pair.stop()
    held = {name: lab.pair.nodes[name].holds_addresses() for name in NODES}
    checks.expect("stopped daemons leave no shared address behind", not any(held.values()), str({k: v for k, v in held.items() if v} or ""))
    lab.end_all()
    found = lab.recorder.findings(forger=lab.network.hardware_address("stranger", "eth0"))
    checks.expect("the recording is complete", lab.recorder.dropped == 0, f"{found.packets} packets, {lab.recorder.dropped} not kept")
    late = f"{drops}; {len(found.late_numbers)} came late on the wire {found.late_numbers[:2] or ''}"
    checks.expect("the client dropped no ESP packet as a replay", drops == 0, late.strip())
    numbers = f"{len(found.esp)} SPIs, {found.reused_numbers[:2] or f'{len(found.esp_times)} packets'}"
    checks.expect("no ESP number was used twice", not found.reused_numbers, numbers)
    checks.expect("no IKE IV was used twice", not found.reused_ivs, str(found.reused_ivs[:2] or 0))
    checks.expect("no IKE message ID was used twice", not found.reused_message_ids, str(found.reused_message_ids[:2] or 0))
    checks.expect("no packet in clear", not found.clear, str(found.clear[:2] or 0))
    checks.expect("no process is left behind", not lab.left_behind, str(lab.left_behind or 0))
    return found
