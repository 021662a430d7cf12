"""Tandem's side of a row: the gateways' configuration, and that of a third Tandem as the peer."""

import json

from .credentials import GATEWAY_ID, PEER_ID
from .network import BRANCH_NET, INNER_LENGTH, INNER_NET, INNER_SHARED, OUTER_LENGTH, OUTER_SHARED, PEER, PEER_MOVED, POOL_NET
from .suites import SUITES

CONNECTION, CHILD = "peer", "net"
#: Datagrams that every IPv4 host takes: every IKE_AUTH with a certificate is longer.
FRAGMENT_SIZE = 576
#: How soon the side that asks whether the other lives does so.
DPD_DELAY_S = 3

PAIR_HEAD = """\
[node]
name = "{name}"
id = {id}

[runtime]
directory = "run"
control_socket = "{socket}"
log_level = "debug"

[pair]
peer = "{peer}"
certificate = "pair/{name}.crt"
key = "pair/{name}.key"
peer_certificate = "pair/{peer}.crt"
{heartbeat}
[[pair.path]]
local = "{pair_local}:4510"
remote = "{pair_remote}:4510"

[[pair.path]]
local = "{inner_local}:4510"
remote = "{inner_remote}:4510"

[dataplane]
kind = "{dataplane}"
"""


def pair_template(row, credentials):
    """The template of both gateways' tandem.toml."""
    return PAIR_HEAD + _literal(_shared_addresses(row) + gateway_connection(row, credentials))


def gateway_connection(row, credentials):
    """The connection to the peer, as the pair has it."""
    remote = f'"{PEER[row.outside]}"' if row.role == "initiator" else '"%any"'
    return _connection(
        row, local_addresses=[OUTER_SHARED[row.outside]], remote=remote, identity=GATEWAY_ID, other=PEER_ID, credentials=credentials, own="gw",
        local_ts=INNER_NET[row.inside], remote_ts=None if row.client else BRANCH_NET[row.inside], asks=row.tandem_asks,
        pool=POOL_NET[row.inside] if row.client else None)


def peer_configuration(row, credentials, local_address, socket):
    """A whole tandem.toml for a Tandem alone, as the peer."""
    head = (
        f'[node]\nname = "peer"\nid = 0\n\n[runtime]\ndirectory = "run"\ncontrol_socket = "{socket}"\nlog_level = "debug"\n'
        '\n[dataplane]\nkind = "kernel"\n')
    # Where a peer may be that moves: it goes only where its configuration lets it.
    homes = [local_address] + ([PEER_MOVED[row.outside]] if row.mobike else [])
    return head + _connection(
        row, local_addresses=homes, remote=f'"{OUTER_SHARED[row.outside]}"', identity=PEER_ID, other=GATEWAY_ID,
        credentials=credentials, own="peer", local_ts=BRANCH_NET[row.inside], remote_ts=INNER_NET[row.inside],
        asks=not row.tandem_asks, pool=None)


def _shared_addresses(row):
    shared = [
        (OUTER_SHARED[row.outside], OUTER_LENGTH[row.outside], "eth0"), (INNER_SHARED[row.inside], INNER_LENGTH[row.inside], "eth1")]
    return "".join(
        f'\n[[address]]\naddress = "{address}/{length}"\ninterface = "{interface}"\n' for address, length, interface in shared)


def _connection(row, local_addresses, remote, identity, other, credentials, own, local_ts, remote_ts, asks, pool):
    ike, esp = SUITES[row.suite].swanctl
    lines = ["", "[ike]", f"fragment_size = {FRAGMENT_SIZE}"] if row.fragment else []
    lines += ["", f"[connections.{CONNECTION}]", "local_addrs = " + json.dumps(local_addresses), f"remote_addrs = [{remote}]", f'proposals = ["{ike}"]']
    if asks:
        lines.append(f'dpd_delay = "{DPD_DELAY_S}s"')
    if pool:
        lines.append('pools = ["road"]')
    if row.mobike:
        lines.append("mobike = true")
    if row.fragment:
        lines.append('fragmentation = "yes"')
    if row.auth == "psk":
        lines += [f'local = {{ auth = "psk", id = "{identity}" }}', f'remote = {{ auth = "psk", id = "{other}" }}']
    else:
        folder = credentials.of(row.auth)
        lines.append(
            f'local = {{ auth = "pubkey", certs = ["{folder}/{own}.crt"], key = "{folder}/{own}.key", id = "{identity}" }}')
        lines.append(f'remote = {{ auth = "pubkey", cacerts = ["{folder}/ca.crt"], id = "{other}" }}')
    lines += ["", f"[connections.{CONNECTION}.children.{CHILD}]", f'local_ts = ["{local_ts}"]', f'esp_proposals = ["{esp}"]']
    if remote_ts:
        lines.append(f'remote_ts = ["{remote_ts}"]')
    if row.auth == "psk":
        lines += ["", "[secrets.peer]", f'ids = ["{identity}", "{other}"]', 'file = "road.psk"']
    if pool:
        lines += ["", "[pools.road]", f'addrs = "{pool}"']
    return "\n".join(lines) + "\n"


def _literal(text):
    """So that `str.format` leaves it as it is."""
    return text.replace("{", "{{").replace("}", "}}")
