"""The rows of the interoperability matrix: which peer, in which role, with what.

Not the full product: each value of every dimension is met for each peer and role. `short` rows are the ones of `make test`.
"""

from dataclasses import dataclass

DEFAULTS = dict(
    auth="psk", suite="gcm", outside=4, inside=4, nat=False, fragment=False, mobike=False, client=False, timed=False, short=False)


@dataclass(frozen=True)
class Row:
    """One row. `role` is Tandem's: a responder is called by the peer."""

    peer: str
    role: str
    #: psk, or the kind of both certificates' keys.
    auth: str
    suite: str
    #: Address families of the gateways and of the tunnel's traffic.
    outside: int
    inside: int
    #: The peer sits behind address translation.
    nat: bool
    #: IKE messages are cut into fragments by both sides: with certificates of RSA, the longest.
    fragment: bool
    #: The peer changes its address.
    mobike: bool
    #: The peer is a road warrior with an address from the pair's pool, not a branch.
    client: bool
    #: The row waits for an IKE rekey that the peer begins by time.
    timed: bool
    short: bool

    @property
    def tandem_asks(self):
        """Who asks whether the other lives when there is no traffic: one side, so that the silence lasts for it (see peers.openiked)."""
        return self.role == "initiator" or self.peer == "openiked"

    @property
    def name(self):
        words = [self.peer, self.role, self.auth, self.suite, f"{self.inside}in{self.outside}"]
        return "-".join(words + [word for word in ("nat", "fragment", "mobike", "client", "timed") if getattr(self, word)])


def _row(peer, role, **values):
    return {**DEFAULTS, "peer": peer, "role": role, **values}


RESPONDER = [
    _row("strongswan", "responder", client=True, mobike=True, short=True),
    _row("strongswan", "responder", suite="cbc-pfs", nat=True, client=True),
    _row("strongswan", "responder", suite="gcm-pfs", outside=6, inside=6),
    _row("strongswan", "responder", suite="chacha", inside=6),
    _row("strongswan", "responder", auth="rsa", suite="gcm", fragment=True, short=True),
    _row("strongswan", "responder", auth="rsa", suite="cbc", nat=True, mobike=True),
    _row("strongswan", "responder", auth="ecdsa", suite="gcm-pfs", outside=6, inside=4, mobike=True),
    _row("strongswan", "responder", auth="ecdsa384", suite="chacha", nat=True, client=True),
    _row("strongswan", "responder", auth="ed25519", suite="cbc-pfs", client=True, inside=6),
    _row("libreswan", "responder", short=True),
    _row("libreswan", "responder", suite="cbc", nat=True),
    _row("libreswan", "responder", suite="cbc-pfs", outside=6, inside=6),
    _row("libreswan", "responder", suite="gcm-pfs"),
    _row("libreswan", "responder", suite="chacha"),
    _row("libreswan", "responder", auth="rsa", suite="cbc", fragment=True),
    _row("libreswan", "responder", auth="rsa", suite="gcm", outside=6, inside=6, fragment=True),
    _row("libreswan", "responder", auth="ecdsa", suite="cbc-pfs", nat=True),
    _row("libreswan", "responder", auth="ecdsa384", suite="chacha", inside=6),
    _row("libreswan", "responder", auth="ed25519"),
    _row("openiked", "responder", suite="cbc384", short=True),
    _row("openiked", "responder", suite="cbc-pfs", nat=True),
    _row("openiked", "responder", suite="cbc384", outside=6, inside=6),
    _row("openiked", "responder", suite="cbc384", timed=True),
    _row("openiked", "responder", suite="gcm"),
    _row("openiked", "responder", suite="cbc"),
    _row("openiked", "responder", suite="chacha"),
    _row("openiked", "responder", auth="rsa", suite="gcm-cbc", fragment=True),
    _row("openiked", "responder", auth="ecdsa", suite="cbc-pfs", nat=True),
    _row("openiked", "responder", auth="ecdsa384", suite="sha256-cbc"),
    _row("openiked", "responder", suite="cbc384", inside=6),
    _row("openiked", "responder", auth="ed25519", suite="cbc384"),
    _row("tandem", "responder", suite="gcm"),
    _row("tandem", "responder", auth="rsa", suite="cbc-pfs", nat=True, fragment=True),
    _row("tandem", "responder", auth="ecdsa", suite="gcm-pfs", outside=6, inside=6),
    _row("tandem", "responder", auth="ed25519", suite="chacha", inside=6, mobike=True),
]
INITIATOR = [
    _row("strongswan", "initiator", short=True),
    _row("strongswan", "initiator", suite="cbc-pfs", inside=6),
    _row("strongswan", "initiator", suite="gcm-pfs", outside=6, inside=6),
    _row("strongswan", "initiator", suite="chacha"),
    _row("strongswan", "initiator", auth="rsa", suite="cbc", fragment=True),
    _row("strongswan", "initiator", auth="ecdsa", suite="gcm-pfs", outside=6, inside=4),
    _row("strongswan", "initiator", auth="ed25519", suite="chacha"),
    _row("libreswan", "initiator", suite="cbc", short=True),
    _row("libreswan", "initiator", suite="cbc-pfs", outside=6, inside=6),
    _row("libreswan", "initiator", suite="chacha", inside=6),
    _row("libreswan", "initiator", auth="rsa", suite="gcm", fragment=True),
    _row("libreswan", "initiator", auth="ecdsa", suite="cbc-pfs"),
    _row("openiked", "initiator", suite="cbc384"),
    _row("openiked", "initiator", suite="gcm-cbc"),
    _row("openiked", "initiator", suite="cbc-pfs", outside=6, inside=6),
    _row("openiked", "initiator", suite="cbc384", timed=True),
    _row("openiked", "initiator", auth="rsa", suite="sha256-cbc", fragment=True),
    _row("openiked", "initiator", auth="ecdsa", suite="cbc-pfs", outside=6, inside=6),
    _row("tandem", "initiator", auth="ecdsa384", suite="gcm", short=True),
    _row("tandem", "initiator", auth="rsa", suite="chacha", fragment=True, inside=6),
    _row("tandem", "initiator", suite="cbc-pfs", outside=6, inside=6),
]


def rows(short=False, only=None):
    """The table as values; `only` keeps rows whose names hold every word of one of its groups (`word+word,word+word`)."""
    found = [Row(**each) for each in RESPONDER + INITIATOR if each["short"] or not short]
    if only:
        groups = [group.split("+") for group in only.split(",")]
        found = [row for row in found if any(all(word in row.name for word in group) for group in groups)]
    return found
