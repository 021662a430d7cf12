"""What the matrix asks of every peer."""

import re
from dataclasses import dataclass

from ..interop.network import OUTER_SHARED
from ..processes import run

STATE = re.compile(r"^src (\S+) dst (\S+)\n((?:\s.*\n?)*)", re.MULTILINE)
SPI = re.compile(r"proto esp spi (0x[0-9a-f]+)")


@dataclass(frozen=True)
class State:
    """What a peer has. Names of IKE SAs are the peer's own (SPIs where it tells them); CHILD SPIs are its kernel's, in hexadecimal."""

    ike: tuple
    inbound: frozenset
    outbound: frozenset


class Peer:
    """A daemon in the namespace `peer`. `bench` has the network, the run's folder, credentials, echo and gateways.

    Everything that asks for an exchange returns at once, without waiting for its end.
    """

    kind = ""
    #: cell → why this peer cannot be asked for it
    missing = {}
    #: How much longer than others it takes until it begins a rekey of a CHILD SA.
    rekey_patience_s = 0
    #: Whether it closes the CHILD SA of its own that lost against a simultaneous rekey (RFC 7296 section 2.8.1: SHOULD).
    deletes_redundant_child = True

    def __init__(self, bench, row):
        self.bench, self.network, self.row = bench, bench.network, row
        self.gateway_address = OUTER_SHARED[row.outside]
        self.address = self.network.peer_address(row)
        self.process = None

    @classmethod
    def lacks(cls, row):
        """Why this peer cannot be what the row wants; None when it can."""
        return None

    def not_offered(self, cell):
        """Why this peer cannot be asked for a cell; None when it can."""
        return self.missing.get(cell)

    def start(self):
        raise NotImplementedError

    def initiate(self):
        raise NotImplementedError

    def rekey_ike(self):
        raise NotImplementedError

    def rekey_child(self):
        raise NotImplementedError

    def delete(self):
        """Ends the IKE SA with a Delete payload."""
        raise NotImplementedError

    def ike_associations(self):
        """The established IKE SAs, newest last, as names that a rekey changes."""
        raise NotImplementedError

    def stop(self):
        if self.process:
            self.process.end()

    def inner_address(self):
        """The address that the tunnel's traffic has at this end."""
        raise NotImplementedError

    def state(self):
        inbound, outbound = self.child_spis()
        return State(tuple(self.ike_associations()), inbound, outbound)

    def child_spis(self):
        """(inbound, outbound) SPIs of the ESP SAs in the peer's kernel; those that are only reserved are left out."""
        shown = run("ip", "-n", self.network.name("peer"), "xfrm", "state").stdout
        spis = {True: set(), False: set()}
        for _, destination, rest in STATE.findall(shown):
            found = SPI.search(rest)
            if found and ("aead " in rest or "enc " in rest):
                spis[destination == self.gateway_address].add(found.group(1)[2:].zfill(8))
        return frozenset(spis[False]), frozenset(spis[True])
