"""The peers of the interoperability matrix, behind one interface (see `base`)."""

from .libreswan import Libreswan
from .openiked import OpenIKED
from .strongswan import StrongSwan
from .tandempeer import TandemPeer

PEERS = {peer.kind: peer for peer in (StrongSwan, Libreswan, OpenIKED, TandemPeer)}
