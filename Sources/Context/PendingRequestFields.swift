import Control
import Cryptography
import Session

extension PendingRequest {
    var json: JSON {
        ContextMembers.json {
            $0.add("message_id", messageID)
            $0.add("purpose", purpose.word)
            switch purpose {
            case .liveness, .deleteIKESA, .announce: break
            case .redirect(let nonce): $0.add("nonce", ifPresent: nonce)
            case .syncReplayCounters(let increment): $0.add("increment", increment)
            case .deleteChildSA(let spi): $0.add("inbound_spi", spi: spi)
            case .createChildSA(let offer): $0.add("offer", offer.json)
            case .rekeyIKESA(let offer): $0.add("offer", offer.json)
            case .updateAddresses(let update):
                $0.add("local", "\(update.local)")
                $0.add("remote", "\(update.remote)")
            case .verifyAddress(let check):
                $0.add("cookie", octets: check.cookie)
                $0.add("path", ifPresent: check.path?.json)
            }
            $0.add("datagrams", datagrams: datagrams)
            $0.add("collision", ifPresent: collision?.json)
        }
    }

    init(_ fields: ContextFields) throws(ContextError) {
        self.init(
            messageID: try fields.number("message_id"), purpose: try Purpose(fields), datagrams: try fields.datagrams("datagrams"),
            collision: try fields.fields(ifPresent: "collision").map { (item) throws(ContextError) in try RekeyCollision(item) })
    }
}

extension PendingRequest.Purpose {
    fileprivate var word: String {
        switch self {
        case .liveness: "liveness"
        case .deleteIKESA: "delete_ike_sa"
        case .deleteChildSA: "delete_child_sa"
        case .createChildSA: "create_child_sa"
        case .rekeyIKESA: "rekey_ike_sa"
        case .updateAddresses: "update_addresses"
        case .verifyAddress: "verify_address"
        case .announce: "announce"
        case .syncReplayCounters: "sync_replay_counters"
        case .redirect: "redirect"
        }
    }

    fileprivate init(_ fields: ContextFields) throws(ContextError) {
        switch try fields.text("purpose") {
        case "liveness": self = .liveness
        case "delete_ike_sa": self = .deleteIKESA
        case "delete_child_sa": self = .deleteChildSA(try fields.spi("inbound_spi"))
        case "create_child_sa": self = .createChildSA(try ChildOffer(try fields.fields("offer")))
        case "rekey_ike_sa": self = .rekeyIKESA(try IKEOffer(try fields.fields("offer")))
        case "update_addresses":
            self = .updateAddresses(AddressUpdate(local: try fields.endpoint("local"), remote: try fields.endpoint("remote")))
        case "verify_address":
            let cookie = try fields.octets("cookie", max: ContextFormat.nonceBytesMax)
            self = .verifyAddress(
                AddressCheck(
                    cookie: cookie, path: try fields.fields(ifPresent: "path").map { (path) throws(ContextError) in try SessionPath(path) })
            )
        case "announce": self = .announce
        case "sync_replay_counters": self = .syncReplayCounters(try fields.number("increment"))
        case "redirect": self = .redirect(nonce: try fields.number(ifPresent: "nonce"))
        default: throw .invalid(fields.name("purpose"))
        }
    }
}

extension RekeyCollision {
    fileprivate var json: JSON {
        ContextMembers.json {
            $0.add("lowest_nonce", octets: lowestNonce)
            $0.add("local_spi", spi: localSPI)
        }
    }

    fileprivate init(_ fields: ContextFields) throws(ContextError) {
        self.init(
            lowestNonce: try fields.octets("lowest_nonce", max: ContextFormat.nonceBytesMax), localSPI: try fields.spi("local_spi"))
    }
}

extension KeyExchangeOffer {
    fileprivate var json: JSON {
        ContextMembers.json {
            $0.add("group", group.rawValue)
            $0.add("private_value", secret: privateValue)
        }
    }

    fileprivate init(_ fields: ContextFields) throws(ContextError) {
        self.init(
            group: try fields.enumeration("group"),
            privateValue: try fields.secret("private_value", max: ContextFormat.privateValueBytesMax))
    }
}

extension ChildOffer {
    fileprivate var json: JSON {
        ContextMembers.json {
            $0.add("name", name)
            $0.add("inbound_spi", spi: inboundSPI)
            $0.add("replacing", ifPresent: replacing.map { JSON.string(hexadecimal($0.octets)) })
            $0.add("nonce", octets: nonce)
            $0.add("key_exchange", ifPresent: keyExchange?.json)
            $0.add("local_selectors", .array(localSelectors.map(\.json)))
            $0.add("remote_selectors", .array(remoteSelectors.map(\.json)))
            $0.add("mode", mode.rawValue)
        }
    }

    fileprivate init(_ fields: ContextFields) throws(ContextError) {
        self.init(
            name: try fields.text("name"), inboundSPI: try fields.spi("inbound_spi"),
            replacing: fields.has("replacing") ? try fields.spi("replacing") : nil,
            nonce: try fields.octets("nonce", max: ContextFormat.nonceBytesMax),
            keyExchange: try fields.fields(ifPresent: "key_exchange").map { (item) throws(ContextError) in try KeyExchangeOffer(item) },
            localSelectors: try TrafficSelector.list(fields, "local_selectors"),
            remoteSelectors: try TrafficSelector.list(fields, "remote_selectors"), mode: try fields.enumeration("mode"))
    }
}

extension IKEOffer {
    fileprivate var json: JSON {
        ContextMembers.json {
            $0.add("spi", spi: spi)
            $0.add("nonce", octets: nonce)
            $0.add("key_exchange", keyExchange.json)
        }
    }

    fileprivate init(_ fields: ContextFields) throws(ContextError) {
        self.init(
            spi: try fields.spi("spi"), nonce: try fields.octets("nonce", max: ContextFormat.nonceBytesMax),
            keyExchange: try KeyExchangeOffer(try fields.fields("key_exchange")))
    }
}

extension UInt32 {
    fileprivate var octets: [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: self >> (24 - 8 * $0)) } }
}
