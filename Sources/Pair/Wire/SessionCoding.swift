import Cryptography
import FoundationEssentials
import Session
import SwiftProtobuf

extension Session {
    var wire: WireSession {
        WireSession.with {
            $0.id = id.rawValue
            $0.uniqueID = uniqueID
            $0.authorization = authorization.wire
            $0.capabilities = capabilities.rawValue
            $0.local = local.wire
            $0.remote = remote.wire
            $0.encapsulation = encapsulation
            $0.localBehindNat = localBehindNAT
            $0.remoteBehindNat = remoteBehindNAT
            $0.ikeSa = ikeSA.wire
            $0.otherIkeSas = otherIKESAs.map(\.wire)
            $0.children = children.map(\.wire)
            $0.virtualAddresses = virtualAddresses.map(\.wire)
            $0.originalRole = UInt32(originalRole.rawValue)
            $0.peerAddresses = peerAddresses.map(WireField.bytes)
            if let movingTo { $0.movingTo = movingTo.wire }
            if let reauthenticateAt { $0.reauthenticateAtWallMilliseconds = reauthenticateAt }
            if let predecessor { $0.predecessor = predecessor.rawValue }
            if let redirectedTo { $0.redirectedTo = WireField.bytes(redirectedTo) }
            if redirects != .none { $0.redirects = redirects.wire }
            $0.isArriving = isArriving
            $0.establishedWallMilliseconds = establishedWallMilliseconds
            $0.add(unknownBytes: unknownFields)
        }
    }

    init(_ wire: WireSession) throws(PairWireError) {
        self.init(
            id: SessionID(rawValue: wire.id), uniqueID: wire.uniqueID,
            authorization: try PeerAuthorization(WireField.present(wire.hasAuthorization, wire.authorization, "Session.authorization")),
            // Bits that are not known yet are kept.
            capabilities: PeerCapabilities(rawValue: wire.capabilities),
            local: try Endpoint(WireField.present(wire.hasLocal, wire.local, "Session.local")),
            remote: try Endpoint(WireField.present(wire.hasRemote, wire.remote, "Session.remote")), encapsulation: wire.encapsulation,
            localBehindNAT: wire.localBehindNat, remoteBehindNAT: wire.remoteBehindNat,
            ikeSA: try IKESA(WireField.present(wire.hasIkeSa, wire.ikeSa, "Session.ike_sa")),
            otherIKESAs: try WireField.list(wire.otherIkeSas, max: Session.otherIKESAsMax, "Session.other_ike_sas") {
                (sa) throws(PairWireError) in try IKESA(sa)
            },
            children: try WireField.list(wire.children, max: PairWireLimits.childrenMax, "Session.children") {
                (child) throws(PairWireError) in try ChildSA(child)
            },
            virtualAddresses: try WireField.list(
                wire.virtualAddresses, max: PairWireLimits.virtualAddressesMax, "Session.virtual_addresses"
            ) {
                (lease) throws(PairWireError) in try VirtualAddress(lease)
            },
            originalRole: try WireField.enumeration(wire.originalRole, IKERole.self, "Session.original_role"),
            peerAddresses: try IPAddress.list(wire.peerAddresses, "Session.peer_addresses"),
            movingTo: wire.hasMovingTo ? try SessionPath(wire.movingTo) : nil,
            reauthenticateAt: try WireField.wallMilliseconds(
                wire.hasReauthenticateAtWallMilliseconds ? wire.reauthenticateAtWallMilliseconds : nil,
                "Session.reauthenticate_at_wall_milliseconds"),
            establishedWallMilliseconds: try WireField.wallMilliseconds(
                wire.establishedWallMilliseconds, "Session.established_wall_milliseconds"))
        unknownFields = try wire.unknownBytes("Session")
        isArriving = wire.isArriving
        if wire.hasPredecessor { predecessor = SessionID(rawValue: wire.predecessor) }
        if wire.hasRedirects { redirects = try Redirections(wire.redirects) }
        if wire.hasRedirectedTo { redirectedTo = try WireField.address(wire.redirectedTo, "Session.redirected_to") }
    }
}

extension PeerAuthorization {
    fileprivate var wire: WireAuthorization {
        WireAuthorization.with {
            $0.connection = connection
            $0.localIdentity = localIdentity.wire
            $0.remoteIdentity = remoteIdentity.wire
            $0.method = UInt32(method.rawValue)
        }
    }

    fileprivate init(_ wire: WireAuthorization) throws(PairWireError) {
        self.init(
            connection: try WireField.text(wire.connection, max: PairWireLimits.nameBytesMax, "Authorization.connection"),
            localIdentity: try Identity(WireField.present(wire.hasLocalIdentity, wire.localIdentity, "Authorization.local_identity")),
            remoteIdentity: try Identity(WireField.present(wire.hasRemoteIdentity, wire.remoteIdentity, "Authorization.remote_identity")),
            method: try WireField.enumeration(wire.method, Method.self, "Authorization.method"))
    }
}

extension Identity {
    fileprivate var wire: WireIdentity {
        WireIdentity.with {
            $0.kind = UInt32(kind.rawValue)
            $0.data = WireField.bytes(data)
        }
    }

    fileprivate init(_ wire: WireIdentity) throws(PairWireError) {
        self.init(
            kind: try WireField.enumeration(wire.kind, Kind.self, "Identity.kind"),
            data: try WireField.octets(wire.data, max: PairWireLimits.identityBytesMax, "Identity.data"))
    }
}

extension VirtualAddress {
    fileprivate var wire: WireVirtualAddress {
        WireVirtualAddress.with {
            $0.pool = pool
            $0.address = WireField.bytes(address)
            $0.isPersistent = isPersistent
        }
    }

    fileprivate init(_ wire: WireVirtualAddress) throws(PairWireError) {
        self.init(
            pool: try WireField.text(wire.pool, max: PairWireLimits.nameBytesMax, "VirtualAddress.pool"),
            address: try WireField.address(wire.address, "VirtualAddress.address"), isPersistent: wire.isPersistent)
    }
}

extension Reservation {
    var wire: WireReservation {
        WireReservation.with {
            $0.identity = holder.identity.wire
            $0.connection = holder.connection
            $0.pool = pool
            $0.address = WireField.bytes(address)
            if let offlineSince { $0.offlineSinceWallMilliseconds = offlineSince }
        }
    }

    init(_ wire: WireReservation) throws(PairWireError) {
        self.init(
            holder: LeaseHolder(
                connection: try WireField.text(wire.connection, max: PairWireLimits.nameBytesMax, "Reservation.connection"),
                identity: try Identity(WireField.present(wire.hasIdentity, wire.identity, "Reservation.identity"))),
            pool: try WireField.text(wire.pool, max: PairWireLimits.nameBytesMax, "Reservation.pool"),
            address: try WireField.address(wire.address, "Reservation.address"),
            offlineSince: try WireField.wallMilliseconds(
                wire.hasOfflineSinceWallMilliseconds ? wire.offlineSinceWallMilliseconds : nil,
                "Reservation.offline_since_wall_milliseconds"))
    }
}

extension SessionPath {
    var wire: WirePath {
        WirePath.with {
            $0.local = local.wire
            $0.remote = remote.wire
            $0.encapsulation = encapsulation
            $0.localBehindNat = localBehindNAT
            $0.remoteBehindNat = remoteBehindNAT
        }
    }

    init(_ wire: WirePath) throws(PairWireError) {
        self.init(
            local: try Endpoint(WireField.present(wire.hasLocal, wire.local, "Path.local")),
            remote: try Endpoint(WireField.present(wire.hasRemote, wire.remote, "Path.remote")), encapsulation: wire.encapsulation,
            localBehindNAT: wire.localBehindNat, remoteBehindNAT: wire.remoteBehindNat)
    }
}

extension IPAddress {
    /// The further addresses of a peer.
    static func list(_ wire: [Data], _ field: String) throws(PairWireError) -> [IPAddress] {
        try WireField.list(wire, max: Session.peerAddressesMax, field) { (address) throws(PairWireError) in
            try WireField.address(address, field)
        }
    }
}

extension Endpoint {
    var wire: WireEndpoint {
        WireEndpoint.with {
            $0.address = WireField.bytes(address)
            $0.port = UInt32(port)
        }
    }

    init(_ wire: WireEndpoint) throws(PairWireError) {
        self.init(
            try WireField.address(wire.address, "Endpoint.address"), try WireField.narrow(wire.port, to: UInt16.self, "Endpoint.port"))
    }
}
