import Cryptography
import Session
import SwiftProtobuf

extension ChildSA {
    var wire: WireChildSA {
        WireChildSA.with {
            $0.inboundSpi = inboundSPI
            $0.outboundSpi = outboundSPI
            $0.name = name
            $0.uniqueID = uniqueID
            $0.cipher = algorithms.cipher.wire
            if let integrity = algorithms.integrity { $0.integrity = UInt32(integrity.rawValue) }
            $0.extendedSequenceNumbers = algorithms.extendedSequenceNumbers
            if let group = algorithms.keyExchangeGroup { $0.keyExchangeGroup = UInt32(group.rawValue) }
            $0.inboundKeys = inboundKeys.wire
            $0.outboundKeys = outboundKeys.wire
            $0.mode = UInt32(mode.rawValue)
            $0.localSelectors = localSelectors.map(\.wire)
            $0.remoteSelectors = remoteSelectors.map(\.wire)
            $0.leaseSlice = lease.slice
            $0.inboundTop = inboundTop
            $0.establishedWallMilliseconds = establishedWallMilliseconds
            $0.isRekeyed = isRekeyed
            if lifetime != .unlimited { $0.lifetime = lifetime.wire }
            if volumeLimits != .unlimited { $0.volumeLimits = volumeLimits.wire }
            if volume != Volume() { $0.volume = volume.wire }
            $0.add(unknownBytes: unknownFields)
        }
    }

    init(_ wire: WireChildSA) throws(PairWireError) {
        let algorithms = try ESPAlgorithms(wire)
        let inbound = try WireField.present(wire.hasInboundKeys, wire.inboundKeys, "ChildSA.inbound_keys")
        let outbound = try WireField.present(wire.hasOutboundKeys, wire.outboundKeys, "ChildSA.outbound_keys")
        self.init(
            inboundSPI: wire.inboundSpi, outboundSPI: wire.outboundSpi,
            name: try WireField.text(wire.name, max: PairWireLimits.nameBytesMax, "ChildSA.name"), uniqueID: wire.uniqueID,
            algorithms: algorithms, inboundKeys: try DirectionKeys(inbound, algorithms.cipher, algorithms.integrity),
            outboundKeys: try DirectionKeys(outbound, algorithms.cipher, algorithms.integrity),
            mode: try WireField.enumeration(wire.mode, IPsecMode.self, "ChildSA.mode"),
            localSelectors: try TrafficSelector.list(wire.localSelectors, "ChildSA.local_selectors"),
            remoteSelectors: try TrafficSelector.list(wire.remoteSelectors, "ChildSA.remote_selectors"),
            lease: Lease(slice: wire.leaseSlice), inboundTop: wire.inboundTop, lifetime: try Lifetime(wire.lifetime),
            volumeLimits: VolumeLimits(wire.volumeLimits), volume: Volume(wire.volume),
            establishedWallMilliseconds: try WireField.wallMilliseconds(
                wire.establishedWallMilliseconds, "ChildSA.established_wall_milliseconds"),
            isRekeyed: wire.isRekeyed)
        unknownFields = try wire.unknownBytes("ChildSA")
    }
}

extension ESPAlgorithms {
    fileprivate init(_ wire: WireChildSA) throws(PairWireError) {
        let cipher = try Cipher(WireField.present(wire.hasCipher, wire.cipher, "ChildSA.cipher"))
        let hasGroup = wire.hasKeyExchangeGroup
        self.init(
            cipher: cipher,
            integrity: try IntegrityAlgorithm.with(cipher, wire.hasIntegrity ? wire.integrity : nil, "ChildSA.integrity"),
            extendedSequenceNumbers: wire.extendedSequenceNumbers,
            keyExchangeGroup: hasGroup
                ? try WireField.enumeration(wire.keyExchangeGroup, KeyExchangeGroup.self, "ChildSA.key_exchange_group") : nil)
    }
}

extension Volume {
    var wire: WireVolume {
        WireVolume.with {
            $0.bytes = bytes
            $0.packets = packets
        }
    }

    init(_ wire: WireVolume) { self.init(bytes: wire.bytes, packets: wire.packets) }
}

extension VolumeLimits {
    fileprivate var wire: WireVolumeLimits {
        WireVolumeLimits.with {
            if let rekeyBytes { $0.rekeyBytes = rekeyBytes }
            if let endBytes { $0.endBytes = endBytes }
            if let rekeyPackets { $0.rekeyPackets = rekeyPackets }
            if let endPackets { $0.endPackets = endPackets }
        }
    }

    init(_ wire: WireVolumeLimits) {
        self.init(
            rekeyBytes: wire.hasRekeyBytes ? wire.rekeyBytes : nil, endBytes: wire.hasEndBytes ? wire.endBytes : nil,
            rekeyPackets: wire.hasRekeyPackets ? wire.rekeyPackets : nil, endPackets: wire.hasEndPackets ? wire.endPackets : nil)
    }
}

extension TrafficSelector {
    var wire: WireTrafficSelector {
        WireTrafficSelector.with {
            $0.ipProtocol = UInt32(ipProtocol)
            $0.startPort = UInt32(startPort)
            $0.endPort = UInt32(endPort)
            $0.start = WireField.bytes(start)
            $0.end = WireField.bytes(end)
        }
    }

    static func list(_ wire: [WireTrafficSelector], _ field: String) throws(PairWireError) -> [TrafficSelector] {
        try WireField.list(wire, max: PairWireLimits.selectorsMax, field) { (selector) throws(PairWireError) in
            try TrafficSelector(selector)
        }
    }

    private init(_ wire: WireTrafficSelector) throws(PairWireError) {
        let start = try WireField.address(wire.start, "TrafficSelector.start")
        let end = try WireField.address(wire.end, "TrafficSelector.end")
        guard start.family == end.family else { throw .invalid("TrafficSelector.end") }
        self.init(
            ipProtocol: try WireField.narrow(wire.ipProtocol, to: UInt8.self, "TrafficSelector.ip_protocol"),
            startPort: try WireField.narrow(wire.startPort, to: UInt16.self, "TrafficSelector.start_port"),
            endPort: try WireField.narrow(wire.endPort, to: UInt16.self, "TrafficSelector.end_port"), start: start, end: end)
    }
}
