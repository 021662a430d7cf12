import Cryptography
import FoundationEssentials
import Session
import SwiftProtobuf

extension PendingRequest {
    var wire: WirePendingRequest {
        WirePendingRequest.with {
            $0.messageID = messageID
            $0.datagrams = datagrams.map { WireField.bytes($0) }
            if let collision { $0.collision = collision.wire }
            switch purpose {
            case .liveness: $0.liveness = WireNothing()
            case .deleteIKESA: $0.deleteIkeSa = WireNothing()
            case .deleteChildSA(let spi): $0.deleteChildSa = spi
            case .createChildSA(let offer): $0.createChildSa = offer.wire
            case .rekeyIKESA(let offer): $0.rekeyIkeSa = offer.wire
            case .updateAddresses(let update):
                $0.updateAddresses.local = update.local.wire
                $0.updateAddresses.remote = update.remote.wire
            case .verifyAddress(let check):
                $0.verifyAddress.cookie = WireField.bytes(check.cookie)
                $0.verifyAddress.path = check.path.wire
            case .announce: $0.announce = WireNothing()
            case .redirect(let nonce): $0.redirect = WireRedirect.with { if let nonce { $0.nonce = nonce } }
            }
        }
    }

    init(_ wire: WirePendingRequest) throws(PairWireError) {
        self.init(
            messageID: wire.messageID, purpose: try Purpose(wire),
            datagrams: try PairWireLimits.datagrams(wire.datagrams, "PendingRequest.datagrams"),
            collision: wire.hasCollision ? try RekeyCollision(wire.collision) : nil)
    }
}

extension PendingRequest.Purpose {
    fileprivate init(_ wire: WirePendingRequest) throws(PairWireError) {
        switch wire.purpose {
        case .liveness: self = .liveness
        case .deleteIkeSa: self = .deleteIKESA
        case .deleteChildSa(let spi): self = .deleteChildSA(spi)
        case .createChildSa(let offer): self = .createChildSA(try ChildOffer(offer))
        case .rekeyIkeSa(let offer): self = .rekeyIKESA(try IKEOffer(offer))
        case .updateAddresses(let update):
            self = .updateAddresses(
                AddressUpdate(
                    local: try Endpoint(WireField.present(update.hasLocal, update.local, "Moved.local")),
                    remote: try Endpoint(WireField.present(update.hasRemote, update.remote, "Moved.remote"))))
        case .verifyAddress(let check):
            self = .verifyAddress(
                AddressCheck(
                    cookie: try WireField.octets(check.cookie, max: PairWireLimits.nonceBytesMax, "AddressCheck.cookie"),
                    path: try SessionPath(WireField.present(check.hasPath, check.path, "AddressCheck.path"))))
        case .announce: self = .announce
        case .redirect(let redirect):
            self = .redirect(nonce: redirect.hasNonce ? redirect.nonce : nil)
        case nil: throw .unknownKind("request purpose")
        }
    }
}

extension RekeyCollision {
    var wire: WireCollision {
        WireCollision.with {
            $0.lowestNonce = WireField.bytes(lowestNonce)
            $0.localSpi = localSPI
        }
    }

    init(_ wire: WireCollision) throws(PairWireError) {
        self.init(
            lowestNonce: try WireField.octets(wire.lowestNonce, max: PairWireLimits.nonceBytesMax, "Collision.lowest_nonce"),
            localSPI: wire.localSpi)
    }
}

extension KeyExchangeOffer {
    fileprivate var wire: WireKeyExchangeOffer {
        WireKeyExchangeOffer.with {
            $0.group = UInt32(group.rawValue)
            $0.privateValue = WireField.bytes(privateValue)
        }
    }

    fileprivate init(_ wire: WireKeyExchangeOffer) throws(PairWireError) {
        let value = try WireField.octets(wire.privateValue, max: PairWireLimits.privateValueBytesMax, "KeyExchangeOffer.private_value")
        self.init(
            group: try WireField.enumeration(wire.group, KeyExchangeGroup.self, "KeyExchangeOffer.group"),
            privateValue: SecretBytes(value))
    }
}

extension ChildOffer {
    fileprivate var wire: WireChildOffer {
        WireChildOffer.with {
            $0.name = name
            $0.inboundSpi = inboundSPI
            if let replacing { $0.replacing = replacing }
            $0.nonce = WireField.bytes(nonce)
            if let keyExchange { $0.keyExchange = keyExchange.wire }
            $0.localSelectors = localSelectors.map(\.wire)
            $0.remoteSelectors = remoteSelectors.map(\.wire)
            $0.mode = UInt32(mode.rawValue)
        }
    }

    fileprivate init(_ wire: WireChildOffer) throws(PairWireError) {
        self.init(
            name: try WireField.text(wire.name, max: PairWireLimits.nameBytesMax, "ChildOffer.name"), inboundSPI: wire.inboundSpi,
            replacing: wire.hasReplacing ? wire.replacing : nil,
            nonce: try WireField.octets(wire.nonce, max: PairWireLimits.nonceBytesMax, "ChildOffer.nonce"),
            keyExchange: wire.hasKeyExchange ? try KeyExchangeOffer(wire.keyExchange) : nil,
            localSelectors: try TrafficSelector.list(wire.localSelectors, "ChildOffer.local_selectors"),
            remoteSelectors: try TrafficSelector.list(wire.remoteSelectors, "ChildOffer.remote_selectors"),
            mode: try WireField.enumeration(wire.mode, IPsecMode.self, "ChildOffer.mode"))
    }
}

extension IKEOffer {
    fileprivate var wire: WireIKEOffer {
        WireIKEOffer.with {
            $0.spi = spi
            $0.nonce = WireField.bytes(nonce)
            $0.keyExchange = keyExchange.wire
        }
    }

    fileprivate init(_ wire: WireIKEOffer) throws(PairWireError) {
        let exchange = try WireField.present(wire.hasKeyExchange, wire.keyExchange, "IKEOffer.key_exchange")
        self.init(
            spi: wire.spi, nonce: try WireField.octets(wire.nonce, max: PairWireLimits.nonceBytesMax, "IKEOffer.nonce"),
            keyExchange: try KeyExchangeOffer(exchange))
    }
}

extension PairWireLimits {
    static func window(_ size: UInt32, _ field: String) throws(PairWireError) -> UInt32 {
        try WireField.bounded(size, 1...UInt32(windowMax), field)
    }

    /// One datagram, or the fragments of a message.
    static func datagrams(_ wire: [Data], _ field: String) throws(PairWireError) -> [[UInt8]] {
        let total = wire.reduce(0) { $0 + $1.count }
        guard total <= 2 * messageBytesMax else { throw .tooLong(field: field, count: total, limit: 2 * messageBytesMax) }
        return try WireField.list(wire, max: fragmentsMax, field) { (bytes) throws(PairWireError) in
            try WireField.octets(bytes, max: messageBytesMax, field)
        }
    }
}
