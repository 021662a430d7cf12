import Control
import Cryptography
import Session

extension SessionContext {
    /// Everything but the digest, in order.
    var members: [JSON.Member] {
        var out = ContextMembers()
        out.add("schema", ContextFormat.schema)
        out.add("version", ContextFormat.version)
        out.add("kind", kind.rawValue)
        out.add(
            "given",
            ContextMembers.json {
                $0.add("by", giver)
                $0.add("node_id", giverNode.rawValue)
                $0.add("epoch", epoch)
                $0.add("at_ms", givenAtWallMilliseconds)
            })
        session.put(into: &out)
        out.add(
            "traffic",
            .array(
                traffic.sorted { $0.key < $1.key }.map { spi, traffic in
                    ContextMembers.json {
                        $0.add("inbound_spi", spi: spi)
                        $0.add("inbound_bytes", traffic.inboundBytes)
                        $0.add("inbound_packets", traffic.inboundPackets)
                        $0.add("outbound_bytes", traffic.outboundBytes)
                        $0.add("outbound_packets", traffic.outboundPackets)
                        $0.add("outbound_next", traffic.outboundNext)
                    }
                }))
        return out.members
    }

    init(_ fields: ContextFields) throws(ContextError) {
        let given = try fields.fields("given")
        guard let kind = Kind(rawValue: try fields.text("kind")) else { throw .invalid("kind") }
        let epoch: Epoch = try given.number("epoch")
        guard epoch <= ContextFormat.epochMax else { throw .invalid("given.epoch") }
        self.init(
            kind: kind, giver: try given.text("by"), giverNode: try given.enumeration("node_id"), epoch: epoch,
            givenAtWallMilliseconds: try given.milliseconds("at_ms"), session: try Session(fields),
            traffic: try SessionContext.traffic(fields))
    }

    private static func traffic(_ fields: ContextFields) throws(ContextError) -> [UInt32: ChildTraffic] {
        let list = try fields.list("traffic", max: ContextFormat.childrenMax) { (item) throws(ContextError) -> (UInt32, ChildTraffic) in
            (
                try item.spi("inbound_spi"),
                ChildTraffic(
                    inboundBytes: try item.number("inbound_bytes"), inboundPackets: try item.number("inbound_packets"),
                    outboundBytes: try item.number("outbound_bytes"), outboundPackets: try item.number("outbound_packets"),
                    outboundNext: try item.number("outbound_next"))
            )
        }
        return Dictionary(list) { first, _ in first }
    }
}

extension Session {
    fileprivate func put(into out: inout ContextMembers) {
        out.add(
            "session",
            ContextMembers.json {
                $0.add("id", spi: id.rawValue)
                $0.add("unique_id", uniqueID)
                $0.add("original_role", originalRole.rawValue)
                $0.add("established_at_ms", establishedWallMilliseconds)
                $0.add("reauthenticate_at_ms", ifPresent: reauthenticateAt)
                $0.add("capabilities", capabilities.rawValue)
            })
        out.add("pad", authorization.json)
        out.add("path", path.json)
        out.add(
            "mobike",
            ContextMembers.json {
                $0.add("peer_addresses", addresses: peerAddresses)
                $0.add("moving_to", ifPresent: movingTo?.json)
            })
        out.add(
            "redirect",
            ContextMembers.json { $0.add("to", ifPresent: redirectedTo.map { .string("\($0)") }) })
        out.add("leases", .array(virtualAddresses.map(\.json)))
        out.add("ike_sa", ikeSA.json)
        out.add("other_ike_sas", .array(otherIKESAs.map(\.json)))
        out.add("child_sas", .array(children.map(\.json)))
    }

    /// The predecessor is a session of the giver: it does not travel.
    fileprivate init(_ fields: ContextFields) throws(ContextError) {
        let session = try fields.fields("session")
        let path = try SessionPath(try fields.fields("path"))
        let mobike = try fields.fields("mobike")
        let redirect = try fields.fields("redirect")
        self.init(
            id: SessionID(rawValue: try session.spi("id")), uniqueID: try session.number("unique_id"),
            authorization: try PeerAuthorization(try fields.fields("pad")),
            capabilities: PeerCapabilities(rawValue: try session.number("capabilities")), local: path.local, remote: path.remote,
            encapsulation: path.encapsulation, localBehindNAT: path.localBehindNAT, remoteBehindNAT: path.remoteBehindNAT,
            ikeSA: try IKESA(try fields.fields("ike_sa")),
            otherIKESAs: try fields.list("other_ike_sas", max: Session.otherIKESAsMax) { (sa) throws(ContextError) in try IKESA(sa) },
            children: try fields.list("child_sas", max: ContextFormat.childrenMax) { (child) throws(ContextError) in try ChildSA(child) },
            virtualAddresses: try fields.list("leases", max: ContextFormat.leasesMax) { (lease) throws(ContextError) in
                try VirtualAddress(lease)
            }, originalRole: try session.enumeration("original_role"),
            peerAddresses: try mobike.addresses("peer_addresses", max: Session.peerAddressesMax),
            movingTo: try mobike.fields(ifPresent: "moving_to").map { (path) throws(ContextError) in try SessionPath(path) },
            reauthenticateAt: try session.milliseconds(ifPresent: "reauthenticate_at_ms"),
            establishedWallMilliseconds: try session.milliseconds("established_at_ms"))
        if redirect.has("to") { redirectedTo = try redirect.address("to") }
    }
}

extension PeerAuthorization {
    fileprivate var json: JSON {
        ContextMembers.json {
            $0.add("connection", connection)
            $0.add("local_identity", localIdentity.json)
            $0.add("remote_identity", remoteIdentity.json)
            $0.add("method", method.rawValue)
        }
    }

    fileprivate init(_ fields: ContextFields) throws(ContextError) {
        self.init(
            connection: try fields.text("connection"), localIdentity: try Identity(try fields.fields("local_identity")),
            remoteIdentity: try Identity(try fields.fields("remote_identity")), method: try fields.enumeration("method"))
    }
}

extension Identity {
    fileprivate var json: JSON {
        ContextMembers.json {
            $0.add("type", kind.rawValue)
            $0.add("data", octets: data)
        }
    }

    fileprivate init(_ fields: ContextFields) throws(ContextError) {
        self.init(kind: try fields.enumeration("type"), data: try fields.octets("data", max: ContextFormat.identityBytesMax))
    }
}

extension VirtualAddress {
    fileprivate var json: JSON {
        ContextMembers.json {
            $0.add("pool", pool)
            $0.add("address", "\(address)")
            $0.add("persistent", isPersistent)
        }
    }

    fileprivate init(_ fields: ContextFields) throws(ContextError) {
        self.init(
            pool: try fields.text("pool"), address: try fields.address("address"), isPersistent: try fields.flag("persistent"))
    }
}

extension SessionPath {
    var json: JSON {
        ContextMembers.json {
            $0.add("local", "\(local)")
            $0.add("remote", "\(remote)")
            $0.add("encapsulation", encapsulation)
            $0.add("local_behind_nat", localBehindNAT)
            $0.add("remote_behind_nat", remoteBehindNAT)
        }
    }

    init(_ fields: ContextFields) throws(ContextError) {
        let (local, remote) = (try fields.endpoint("local"), try fields.endpoint("remote"))
        guard local.address.family == remote.address.family else { throw .invalid(fields.name("remote")) }
        self.init(
            local: local, remote: remote, encapsulation: try fields.flag("encapsulation"),
            localBehindNAT: try fields.flag("local_behind_nat"), remoteBehindNAT: try fields.flag("remote_behind_nat"))
    }
}

extension TrafficSelector {
    var json: JSON {
        ContextMembers.json {
            $0.add("protocol", ipProtocol)
            $0.add("start_port", startPort)
            $0.add("end_port", endPort)
            $0.add("start", "\(start)")
            $0.add("end", "\(end)")
        }
    }

    static func list(_ fields: ContextFields, _ key: StaticString) throws(ContextError) -> [TrafficSelector] {
        try fields.list(key, max: ContextFormat.selectorsMax) { (item) throws(ContextError) in
            let (start, end) = (try item.address("start"), try item.address("end"))
            guard start.family == end.family else { throw .invalid(item.name("end")) }
            return TrafficSelector(
                ipProtocol: try item.number("protocol"), startPort: try item.number("start_port"), endPort: try item.number("end_port"),
                start: start, end: end)
        }
    }
}
