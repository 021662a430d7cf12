import Session
import SwiftProtobuf

extension Redirections {
    var wire: WireRedirections {
        WireRedirections.with {
            $0.sentWallMilliseconds = times
            if let order { $0.order = order.wire }
            if let from { $0.from = WireField.bytes(from) }
        }
    }

    init(_ wire: WireRedirections) throws(PairWireError) {
        self.init(
            times: try WireField.list(wire.sentWallMilliseconds, max: Redirections.countMax, "Redirections.sent_wall_milliseconds") {
                (time) throws(PairWireError) in try WireField.wallMilliseconds(time, "Redirections.sent_wall_milliseconds")
            }, order: wire.hasOrder ? try RedirectOrder(wire.order) : nil,
            from: wire.hasFrom ? try WireField.address(wire.from, "Redirections.from") : nil)
    }
}

extension RedirectOrder {
    fileprivate var wire: WireRedirectOrder {
        WireRedirectOrder.with {
            switch target {
            case .address(let address): $0.address = WireField.bytes(address)
            case .name(let name): $0.name = name
            }
            $0.contextTransmitted = contextTransmitted
            $0.stage = UInt32(stage.rawValue)
            if let endsAt { $0.endsAtWallMilliseconds = endsAt }
        }
    }

    fileprivate init(_ wire: WireRedirectOrder) throws(PairWireError) {
        let target: GatewayIdentity
        switch wire.target {
        case .address(let address): target = .address(try WireField.address(address, "RedirectOrder.address"))
        case .name(let name): target = .name(try WireField.text(name, max: GatewayIdentity.nameLengthMax, "RedirectOrder.name"))
        case nil: throw .unknownKind("redirect target")
        }
        self.init(
            target: target, contextTransmitted: wire.contextTransmitted,
            stage: try WireField.enumeration(wire.stage, Stage.self, "RedirectOrder.stage"),
            endsAt: try WireField.wallMilliseconds(
                wire.hasEndsAtWallMilliseconds ? wire.endsAtWallMilliseconds : nil, "RedirectOrder.ends_at_wall_milliseconds"))
    }
}
