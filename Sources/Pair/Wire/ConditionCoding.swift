import Session
import SwiftProtobuf

extension NodeCondition {
    var wire: WireCondition {
        WireCondition.with {
            $0.faults = faults.prefix(NodeCondition.faultsMax).map(\.wire)
            $0.maintenance = UInt32(maintenance.rawValue)
            $0.wallMilliseconds = wallMilliseconds
            if let lifetimeMilliseconds { $0.lifetimeMilliseconds = lifetimeMilliseconds }
        }
    }

    init(_ wire: WireCondition) throws(PairWireError) {
        let limit = PairWireLimits.wallMillisecondsMax
        self.init(
            faults: try WireField.list(wire.faults, max: NodeCondition.faultsMax, "Condition.faults") { (fault) throws(PairWireError) in
                try NamedFault(fault)
            },
            maintenance: try WireField.enumeration(wire.maintenance, Maintenance.self, "Condition.maintenance"),
            wallMilliseconds: try WireField.bounded(wire.wallMilliseconds, -limit...limit, "Condition.wall_milliseconds"),
            lifetimeMilliseconds: wire.hasLifetimeMilliseconds
                ? try WireField.bounded(wire.lifetimeMilliseconds, -limit...limit, "Condition.lifetime_milliseconds") : nil)
    }
}

extension NamedFault {
    fileprivate var wire: WireFault {
        WireFault.with {
            $0.name = WireField.shortened(name)
            $0.reason = WireField.shortened(reason)
        }
    }

    fileprivate init(_ wire: WireFault) throws(PairWireError) {
        self.init(
            name: try WireField.text(wire.name, max: PairWireLimits.reasonBytesMax, "Fault.name"),
            reason: try WireField.text(wire.reason, max: PairWireLimits.reasonBytesMax, "Fault.reason"))
    }
}

extension HandoverTerms {
    func wire(epoch: Epoch) -> WireHandover {
        WireHandover.with {
            $0.epoch = epoch
            $0.reason = WireField.shortened(reason)
            $0.isForced = isForced
            $0.isAutomatic = isAutomatic
        }
    }

    init(_ wire: WireHandover) throws(PairWireError) {
        self.init(
            reason: try WireField.text(wire.reason, max: PairWireLimits.reasonBytesMax, "Handover.reason"), isForced: wire.isForced,
            isAutomatic: wire.isAutomatic)
    }
}
