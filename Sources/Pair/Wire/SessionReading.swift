import Cryptography
import Session
import SwiftProtobuf

/// Sessions of a snapshot, read out of the frame without an object for each message in between: a hundred thousand of them come in one go,
/// and with SwiftProtobuf that is three times the work. The octets, the limits and the errors are those of `SessionCoding`. What few
/// sessions have, requests under way for instance, is read by SwiftProtobuf here too.
extension Session {
    init(reading raw: UnsafeRawBufferPointer) throws(PairWireError) {
        var reader = WireReader(raw)
        var (id, uniqueID, capabilities, role): (UInt64, UInt32, UInt32, UInt32) = (0, 0, 0, 0)
        var authorization: PeerAuthorization?
        var (local, remote): (Endpoint?, Endpoint?)
        var (encapsulation, localBehindNAT, remoteBehindNAT, arriving) = (false, false, false, false)
        var ikeSA: IKESA?
        var (others, children, leases) = (WireList<IKESA>(), WireList<ChildSA>(), WireList<VirtualAddress>())
        var addresses = WireList<IPAddress>()
        var established: Int64 = 0
        var (movingTo, reauthenticateAt, predecessor, redirectedTo): (SessionPath?, Int64?, SessionID?, IPAddress?)
        var redirects = Redirections.none
        var unknown: [UInt8] = []
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .fixed64(let value)): id = value
            case (2, .varint(let value)): uniqueID = UInt32(truncatingIfNeeded: value)
            case (3, .octets(let raw)): authorization = try PeerAuthorization(reading: raw)
            case (4, .varint(let value)): capabilities = UInt32(truncatingIfNeeded: value)
            case (5, .octets(let raw)): local = try Endpoint(reading: raw)
            case (6, .octets(let raw)): remote = try Endpoint(reading: raw)
            case (7, .varint(let value)): encapsulation = value != 0
            case (8, .varint(let value)): localBehindNAT = value != 0
            case (9, .varint(let value)): remoteBehindNAT = value != 0
            case (10, .octets(let raw)): ikeSA = try IKESA(reading: raw)
            case (11, .octets(let raw)):
                try others.add(max: Session.otherIKESAsMax) { () throws(PairWireError) in try IKESA(reading: raw) }
            case (12, .octets(let raw)):
                try children.add(max: PairWireLimits.childrenMax) { () throws(PairWireError) in try ChildSA(reading: raw) }
            case (13, .octets(let raw)):
                try leases.add(max: PairWireLimits.virtualAddressesMax) { () throws(PairWireError) in try VirtualAddress(reading: raw) }
            case (14, .varint(let value)): established = Int64(bitPattern: value)
            case (15, .varint(let value)): role = UInt32(truncatingIfNeeded: value)
            case (16, .octets(let raw)):
                try addresses.add(max: Session.peerAddressesMax) { () throws(PairWireError) in
                    try WireField.address(raw, "Session.peer_addresses")
                }
            case (17, .varint(let value)): reauthenticateAt = Int64(bitPattern: value)
            case (20, .octets(let raw)): movingTo = try SessionPath(reading: raw)
            case (30, .fixed64(let value)): predecessor = SessionID(rawValue: value)
            case (31, .octets(let raw)): redirectedTo = try WireField.address(raw, "Session.redirected_to")
            case (45, .octets(let raw)): redirects = try Redirections(WireRedirections(reading: raw))
            case (60, .varint(let value)): arriving = value != 0
            default: unknown += field.whole
            }
        }
        self.init(
            id: SessionID(rawValue: id), uniqueID: uniqueID,
            authorization: try WireField.present(authorization, "Session.authorization"),
            // Bits that are not known yet are kept.
            capabilities: PeerCapabilities(rawValue: capabilities), local: try WireField.present(local, "Session.local"),
            remote: try WireField.present(remote, "Session.remote"), encapsulation: encapsulation, localBehindNAT: localBehindNAT,
            remoteBehindNAT: remoteBehindNAT, ikeSA: try WireField.present(ikeSA, "Session.ike_sa"),
            otherIKESAs: try others.checked(max: Session.otherIKESAsMax, "Session.other_ike_sas"),
            children: try children.checked(max: PairWireLimits.childrenMax, "Session.children"),
            virtualAddresses: try leases.checked(max: PairWireLimits.virtualAddressesMax, "Session.virtual_addresses"),
            originalRole: try WireField.enumeration(role, IKERole.self, "Session.original_role"),
            peerAddresses: try addresses.checked(max: Session.peerAddressesMax, "Session.peer_addresses"), movingTo: movingTo,
            reauthenticateAt: try WireField.wallMilliseconds(reauthenticateAt, "Session.reauthenticate_at_wall_milliseconds"),
            establishedWallMilliseconds: try WireField.wallMilliseconds(established, "Session.established_wall_milliseconds"))
        unknownFields = try WireField.unknown(unknown, "Session")
        isArriving = arriving
        self.predecessor = predecessor
        self.redirects = redirects
        self.redirectedTo = redirectedTo
    }
}

extension Message {
    /// By SwiftProtobuf, out of octets that lie in a frame.
    init(reading raw: UnsafeRawBufferPointer) throws(PairWireError) {
        do { try self.init(serializedBytes: Array<UInt8>(raw)) } catch { throw .malformed }
    }
}

extension PeerAuthorization {
    fileprivate init(reading raw: UnsafeRawBufferPointer) throws(PairWireError) {
        var reader = WireReader(raw)
        var (connection, local, remote): (String, Identity?, Identity?) = ("", nil, nil)
        var method: UInt32 = 0
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .octets(let raw)):
                connection = try WireField.text(raw, max: PairWireLimits.nameBytesMax, "Authorization.connection")
            case (2, .octets(let raw)): local = try Identity(reading: raw)
            case (3, .octets(let raw)): remote = try Identity(reading: raw)
            case (4, .varint(let value)): method = UInt32(truncatingIfNeeded: value)
            default: break
            }
        }
        self.init(
            connection: connection, localIdentity: try WireField.present(local, "Authorization.local_identity"),
            remoteIdentity: try WireField.present(remote, "Authorization.remote_identity"),
            method: try WireField.enumeration(method, Method.self, "Authorization.method"))
    }
}

extension Identity {
    fileprivate init(reading raw: UnsafeRawBufferPointer) throws(PairWireError) {
        var reader = WireReader(raw)
        var (kind, data): (UInt32, [UInt8]) = (0, [])
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .varint(let value)): kind = UInt32(truncatingIfNeeded: value)
            case (2, .octets(let raw)): data = try WireField.octets(raw, max: PairWireLimits.identityBytesMax, "Identity.data")
            default: break
            }
        }
        self.init(kind: try WireField.enumeration(kind, Kind.self, "Identity.kind"), data: data)
    }
}

extension VirtualAddress {
    fileprivate init(reading raw: UnsafeRawBufferPointer) throws(PairWireError) {
        var reader = WireReader(raw)
        var (pool, address, isPersistent): (String, IPAddress?, Bool) = ("", nil, false)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .octets(let raw)): pool = try WireField.text(raw, max: PairWireLimits.nameBytesMax, "VirtualAddress.pool")
            case (2, .octets(let raw)): address = try WireField.address(raw, "VirtualAddress.address")
            case (3, .varint(let value)): isPersistent = value != 0
            default: break
            }
        }
        guard let address else { throw .invalid("VirtualAddress.address") }
        self.init(pool: pool, address: address, isPersistent: isPersistent)
    }
}

extension SessionPath {
    fileprivate init(reading raw: UnsafeRawBufferPointer) throws(PairWireError) {
        var reader = WireReader(raw)
        var (local, remote): (Endpoint?, Endpoint?)
        var (encapsulation, localBehindNAT, remoteBehindNAT) = (false, false, false)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .octets(let raw)): local = try Endpoint(reading: raw)
            case (2, .octets(let raw)): remote = try Endpoint(reading: raw)
            case (3, .varint(let value)): encapsulation = value != 0
            case (4, .varint(let value)): localBehindNAT = value != 0
            case (5, .varint(let value)): remoteBehindNAT = value != 0
            default: break
            }
        }
        self.init(
            local: try WireField.present(local, "Path.local"), remote: try WireField.present(remote, "Path.remote"),
            encapsulation: encapsulation, localBehindNAT: localBehindNAT, remoteBehindNAT: remoteBehindNAT)
    }
}

extension Endpoint {
    fileprivate init(reading raw: UnsafeRawBufferPointer) throws(PairWireError) {
        var reader = WireReader(raw)
        var (address, port): (IPAddress?, UInt32) = (nil, 0)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .octets(let raw)): address = try WireField.address(raw, "Endpoint.address")
            case (2, .varint(let value)): port = UInt32(truncatingIfNeeded: value)
            default: break
            }
        }
        guard let address else { throw .invalid("Endpoint.address") }
        self.init(address, try WireField.narrow(port, to: UInt16.self, "Endpoint.port"))
    }
}

// MARK: - IKE SAs

extension IKESA {
    fileprivate init(reading raw: UnsafeRawBufferPointer) throws(PairWireError) {
        var reader = WireReader(raw)
        var spis = IKESPIs(initiator: 0, responder: 0)
        var (role, prf, group, nextSendID, nextReceiveID): (UInt32, UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0, 0)
        var (sendWindow, receiveWindow, offset, spent): (UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0)
        var (cipher, integrity): (Cipher?, UInt32?)
        var derivation = UnsafeRawBufferPointer(start: nil, count: 0)
        var (initiator, responder): (RawKeys?, RawKeys?)
        var (responses, requests) = (WireList<CachedResponse>(), WireList<PendingRequest>())
        var (established, lifetime): (Int64, Lifetime) = (0, .unlimited)
        var sync = CounterSync()
        var unknown: [UInt8] = []
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .fixed64(let value)): spis.initiator = value
            case (2, .fixed64(let value)): spis.responder = value
            case (3, .varint(let value)): role = UInt32(truncatingIfNeeded: value)
            case (4, .octets(let raw)): cipher = try Cipher(reading: raw)
            case (5, .varint(let value)): integrity = UInt32(truncatingIfNeeded: value)
            case (6, .varint(let value)): prf = UInt32(truncatingIfNeeded: value)
            case (7, .varint(let value)): group = UInt32(truncatingIfNeeded: value)
            case (8, .octets(let raw)): derivation = raw
            case (9, .octets(let raw)): initiator = try RawKeys(reading: raw)
            case (10, .octets(let raw)): responder = try RawKeys(reading: raw)
            case (11, .varint(let value)): nextSendID = UInt32(truncatingIfNeeded: value)
            case (12, .varint(let value)): nextReceiveID = UInt32(truncatingIfNeeded: value)
            case (13, .octets(let raw)):
                try responses.add(max: PairWireLimits.responsesMax) { () throws(PairWireError) in try CachedResponse(reading: raw) }
            case (14, .octets(let raw)):
                try requests.add(max: PairWireLimits.windowMax) { () throws(PairWireError) in
                    try PendingRequest(WirePendingRequest(reading: raw))
                }
            case (15, .varint(let value)): established = Int64(bitPattern: value)
            case (16, .varint(let value)): sendWindow = UInt32(truncatingIfNeeded: value)
            case (17, .varint(let value)): receiveWindow = UInt32(truncatingIfNeeded: value)
            case (18, .octets(let raw)): lifetime = try Lifetime(reading: raw)
            case (30, .varint(let value)): offset = UInt32(truncatingIfNeeded: value)
            case (31, .varint(let value)): spent = UInt32(truncatingIfNeeded: value)
            case (50, .octets(let raw)): sync.pending = try SyncRequest(WireSyncRequest(reading: raw))
            case (51, .varint(let value)): sync.knownSince = value
            case (52, .octets(let raw)): sync.answered = try SyncAnswer(WireSyncAnswer(reading: raw))
            default: unknown += field.whole
            }
        }
        let algorithms = try IKEAlgorithms(cipher, integrity: integrity, prf: prf, group: group)
        let keys = IKEKeys(
            derivation: try WireField.secret(derivation, count: algorithms.prf.outputLength, "IKESA.derivation_key"),
            initiator: try WireField.present(initiator, "IKESA.initiator_keys").keys(algorithms.cipher, algorithms.integrity),
            responder: try WireField.present(responder, "IKESA.responder_keys").keys(algorithms.cipher, algorithms.integrity))
        self.init(
            spis: spis, role: try WireField.enumeration(role, IKERole.self, "IKESA.role"), algorithms: algorithms, keys: keys,
            nextSendID: nextSendID, nextReceiveID: nextReceiveID,
            sendWindow: try PairWireLimits.window(sendWindow, "IKESA.send_window"),
            receiveWindow: try PairWireLimits.window(receiveWindow, "IKESA.receive_window"),
            responses: try responses.checked(max: PairWireLimits.responsesMax, "IKESA.responses"),
            pendingRequests: try requests.checked(max: PairWireLimits.windowMax, "IKESA.pending_requests"), lifetime: lifetime,
            epochShift: try EpochShift(offset: offset, spent: spent),
            establishedWallMilliseconds: try WireField.wallMilliseconds(established, "IKESA.established_wall_milliseconds"))
        counterSync = sync
        unknownFields = try WireField.unknown(unknown, "IKESA")
    }
}

extension IKEAlgorithms {
    fileprivate init(_ cipher: Cipher?, integrity: UInt32?, prf: UInt32, group: UInt32) throws(PairWireError) {
        let cipher = try WireField.present(cipher, "IKESA.cipher")
        self.init(
            cipher: cipher, integrity: try IntegrityAlgorithm.with(cipher, integrity, "IKESA.integrity"),
            prf: try WireField.enumeration(prf, PRF.self, "IKESA.prf"),
            keyExchangeGroup: try WireField.enumeration(group, KeyExchangeGroup.self, "IKESA.key_exchange_group"))
    }
}

extension Cipher {
    fileprivate init(reading raw: UnsafeRawBufferPointer) throws(PairWireError) {
        var reader = WireReader(raw)
        var (transform, keyBits): (UInt32, UInt32) = (0, 0)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .varint(let value)): transform = UInt32(truncatingIfNeeded: value)
            case (2, .varint(let value)): keyBits = UInt32(truncatingIfNeeded: value)
            default: break
            }
        }
        self = try Cipher(transform: transform, keyBits: keyBits)
    }
}

/// Keys as they lie in the frame: how long they are to be is said elsewhere in the message around them.
private struct RawKeys {
    private var encryption = UnsafeRawBufferPointer(start: nil, count: 0)
    private var integrity = UnsafeRawBufferPointer(start: nil, count: 0)

    init(reading raw: UnsafeRawBufferPointer) throws(PairWireError) {
        var reader = WireReader(raw)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .octets(let raw)): encryption = raw
            case (2, .octets(let raw)): integrity = raw
            default: break
            }
        }
    }

    func keys(_ cipher: Cipher, _ algorithm: IntegrityAlgorithm?) throws(PairWireError) -> DirectionKeys {
        DirectionKeys(
            encryption: try WireField.secret(encryption, count: cipher.keyMaterialLength, "DirectionKeys.encryption"),
            integrity: try WireField.secret(integrity, count: algorithm?.keyLength ?? 0, "DirectionKeys.integrity"))
    }
}

extension Lifetime {
    fileprivate init(reading raw: UnsafeRawBufferPointer) throws(PairWireError) {
        var reader = WireReader(raw)
        var (rekeyAt, endsAt): (Int64?, Int64?)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .varint(let value)): rekeyAt = Int64(bitPattern: value)
            case (2, .varint(let value)): endsAt = Int64(bitPattern: value)
            default: break
            }
        }
        self.init(
            rekeyAt: try WireField.wallMilliseconds(rekeyAt, "Lifetime.rekey_at_wall_milliseconds"),
            endsAt: try WireField.wallMilliseconds(endsAt, "Lifetime.ends_at_wall_milliseconds"))
    }
}

extension CachedResponse {
    fileprivate init(reading raw: UnsafeRawBufferPointer) throws(PairWireError) {
        var reader = WireReader(raw)
        var (messageID, digest): (UInt32, [UInt8]) = (0, [])
        var (datagrams, total) = (WireList<[UInt8]>(), 0)
        let name = "CachedResponse.datagrams"
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .varint(let value)): messageID = UInt32(truncatingIfNeeded: value)
            case (2, .octets(let raw)):
                digest = try WireField.octets(raw, max: PairWireLimits.digestBytesMax, "CachedResponse.request_digest")
            case (3, .octets(let raw)):
                total += raw.count
                try datagrams.add(max: PairWireLimits.fragmentsMax) { () throws(PairWireError) in
                    try WireField.octets(raw, max: PairWireLimits.messageBytesMax, name)
                }
            default: break
            }
        }
        let limit = 2 * PairWireLimits.messageBytesMax
        guard total <= limit else { throw .tooLong(field: name, count: total, limit: limit) }
        self.init(
            messageID: messageID, requestDigest: digest, datagrams: try datagrams.checked(max: PairWireLimits.fragmentsMax, name))
    }
}

// MARK: - CHILD SAs

extension ChildSA {
    fileprivate init(reading raw: UnsafeRawBufferPointer) throws(PairWireError) {
        var reader = WireReader(raw)
        var (inboundSPI, outboundSPI, uniqueID, mode): (UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0)
        var name = ""
        var (cipher, integrity, group): (Cipher?, UInt32?, UInt32?)
        var (extended, rekeyed) = (false, false)
        var (inbound, outbound): (RawKeys?, RawKeys?)
        var (locals, remotes) = (WireList<TrafficSelector>(), WireList<TrafficSelector>())
        var (slice, top, established): (UInt64, UInt64, Int64) = (0, 0, 0)
        var (lifetime, limits, volume) = (Lifetime.unlimited, VolumeLimits.unlimited, Volume())
        var unknown: [UInt8] = []
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .fixed32(let value)): inboundSPI = value
            case (2, .fixed32(let value)): outboundSPI = value
            case (3, .octets(let raw)): name = try WireField.text(raw, max: PairWireLimits.nameBytesMax, "ChildSA.name")
            case (4, .varint(let value)): uniqueID = UInt32(truncatingIfNeeded: value)
            case (5, .octets(let raw)): cipher = try Cipher(reading: raw)
            case (6, .varint(let value)): integrity = UInt32(truncatingIfNeeded: value)
            case (7, .varint(let value)): extended = value != 0
            case (8, .varint(let value)): group = UInt32(truncatingIfNeeded: value)
            case (9, .octets(let raw)): inbound = try RawKeys(reading: raw)
            case (10, .octets(let raw)): outbound = try RawKeys(reading: raw)
            case (11, .varint(let value)): mode = UInt32(truncatingIfNeeded: value)
            case (12, .octets(let raw)):
                try locals.add(max: PairWireLimits.selectorsMax) { () throws(PairWireError) in try TrafficSelector(reading: raw) }
            case (13, .octets(let raw)):
                try remotes.add(max: PairWireLimits.selectorsMax) { () throws(PairWireError) in try TrafficSelector(reading: raw) }
            case (14, .varint(let value)): slice = value
            case (15, .varint(let value)): top = value
            case (16, .varint(let value)): established = Int64(bitPattern: value)
            case (17, .varint(let value)): rekeyed = value != 0
            case (18, .octets(let raw)): lifetime = try Lifetime(reading: raw)
            case (19, .octets(let raw)): limits = VolumeLimits(try WireVolumeLimits(reading: raw))
            case (20, .octets(let raw)): volume = Volume(try WireVolume(reading: raw))
            default: unknown += field.whole
            }
        }
        let algorithms = try ESPAlgorithms(cipher, integrity: integrity, isExtended: extended, group: group)
        self.init(
            inboundSPI: inboundSPI, outboundSPI: outboundSPI, name: name, uniqueID: uniqueID, algorithms: algorithms,
            inboundKeys: try WireField.present(inbound, "ChildSA.inbound_keys").keys(algorithms.cipher, algorithms.integrity),
            outboundKeys: try WireField.present(outbound, "ChildSA.outbound_keys").keys(algorithms.cipher, algorithms.integrity),
            mode: try WireField.enumeration(mode, IPsecMode.self, "ChildSA.mode"),
            localSelectors: try locals.checked(max: PairWireLimits.selectorsMax, "ChildSA.local_selectors"),
            remoteSelectors: try remotes.checked(max: PairWireLimits.selectorsMax, "ChildSA.remote_selectors"),
            lease: Lease(slice: slice), inboundTop: top, lifetime: lifetime, volumeLimits: limits, volume: volume,
            establishedWallMilliseconds: try WireField.wallMilliseconds(established, "ChildSA.established_wall_milliseconds"),
            isRekeyed: rekeyed)
        unknownFields = try WireField.unknown(unknown, "ChildSA")
    }
}

extension ESPAlgorithms {
    fileprivate init(_ cipher: Cipher?, integrity: UInt32?, isExtended: Bool, group: UInt32?) throws(PairWireError) {
        let cipher = try WireField.present(cipher, "ChildSA.cipher")
        self.init(
            cipher: cipher, integrity: try IntegrityAlgorithm.with(cipher, integrity, "ChildSA.integrity"),
            extendedSequenceNumbers: isExtended, keyExchangeGroup: nil)
        if let group { keyExchangeGroup = try WireField.enumeration(group, KeyExchangeGroup.self, "ChildSA.key_exchange_group") }
    }
}

extension TrafficSelector {
    fileprivate init(reading raw: UnsafeRawBufferPointer) throws(PairWireError) {
        var reader = WireReader(raw)
        var (ipProtocol, startPort, endPort): (UInt32, UInt32, UInt32) = (0, 0, 0)
        var (start, end): (IPAddress?, IPAddress?)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (1, .varint(let value)): ipProtocol = UInt32(truncatingIfNeeded: value)
            case (2, .varint(let value)): startPort = UInt32(truncatingIfNeeded: value)
            case (3, .varint(let value)): endPort = UInt32(truncatingIfNeeded: value)
            case (4, .octets(let raw)): start = try WireField.address(raw, "TrafficSelector.start")
            case (5, .octets(let raw)): end = try WireField.address(raw, "TrafficSelector.end")
            default: break
            }
        }
        guard let start else { throw .invalid("TrafficSelector.start") }
        guard let end, start.family == end.family else { throw .invalid("TrafficSelector.end") }
        self.init(
            ipProtocol: try WireField.narrow(ipProtocol, to: UInt8.self, "TrafficSelector.ip_protocol"),
            startPort: try WireField.narrow(startPort, to: UInt16.self, "TrafficSelector.start_port"),
            endPort: try WireField.narrow(endPort, to: UInt16.self, "TrafficSelector.end_port"), start: start, end: end)
    }
}
