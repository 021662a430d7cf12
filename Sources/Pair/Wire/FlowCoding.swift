import Session
import SwiftProtobuf

extension FlowBatch {
    var wire: WireFlowBatch {
        WireFlowBatch.with {
            $0.beginsTable = beginsTable
            $0.endsTable = endsTable
            $0.removals = removals.map(\.wire)
            $0.puts = puts.map(\.wire)
        }
    }

    init(_ wire: WireFlowBatch) throws(PairWireError) {
        let limit = PairProtocol.flowBatchMax
        self.init(
            beginsTable: wire.beginsTable, endsTable: wire.endsTable,
            removals: try WireField.list(wire.removals, max: limit, "FlowBatch.removals") { (key) throws(PairWireError) in
                try FlowKey(key)
            },
            puts: try WireField.list(wire.puts, max: limit, "FlowBatch.puts") { (flow) throws(PairWireError) in try FlowEntry(flow) })
    }
}

extension FlowTuple {
    fileprivate var wire: WireFlowTuple {
        WireFlowTuple.with {
            $0.source = WireField.bytes(source)
            $0.destination = WireField.bytes(destination)
            $0.ipProtocol = UInt32(ipProtocol)
            $0.sourcePort = UInt32(sourcePort)
            $0.destinationPort = UInt32(destinationPort)
        }
    }

    fileprivate init(_ wire: WireFlowTuple) throws(PairWireError) {
        self.init(
            source: try WireField.address(wire.source, "FlowTuple.source"),
            destination: try WireField.address(wire.destination, "FlowTuple.destination"),
            ipProtocol: try WireField.narrow(wire.ipProtocol, to: UInt8.self, "FlowTuple.ip_protocol"),
            sourcePort: try WireField.narrow(wire.sourcePort, to: UInt16.self, "FlowTuple.source_port"),
            destinationPort: try WireField.narrow(wire.destinationPort, to: UInt16.self, "FlowTuple.destination_port"))
        guard source.family == destination.family else { throw .invalid("FlowTuple.destination") }
        guard FlowProtocol.all.contains(ipProtocol) else { throw .invalid("FlowTuple.ip_protocol") }
    }
}

extension FlowKey {
    fileprivate var wire: WireFlowKey {
        WireFlowKey.with {
            $0.original = original.wire
            $0.zone = UInt32(zone)
        }
    }

    fileprivate init(_ wire: WireFlowKey) throws(PairWireError) {
        self.init(
            original: try FlowTuple(try WireField.present(wire.hasOriginal, wire.original, "FlowKey.original")),
            zone: try WireField.narrow(wire.zone, to: UInt16.self, "FlowKey.zone"))
    }
}

extension FlowEntry {
    fileprivate var wire: WireFlow {
        WireFlow.with {
            $0.original = original.wire
            $0.reply = reply.wire
            $0.zone = UInt32(zone)
            $0.status = status.rawValue
            $0.timeoutSeconds = timeout
            $0.mark = mark
            if let tcp { $0.tcp = tcp.wire }
        }
    }

    fileprivate init(_ wire: WireFlow) throws(PairWireError) {
        self.init(
            original: try FlowTuple(try WireField.present(wire.hasOriginal, wire.original, "Flow.original")),
            reply: try FlowTuple(try WireField.present(wire.hasReply, wire.reply, "Flow.reply")),
            zone: try WireField.narrow(wire.zone, to: UInt16.self, "Flow.zone"),
            // Bits that a newer node knows mean nothing here.
            status: FlowStatus(rawValue: wire.status).intersection(.known),
            timeout: try WireField.bounded(wire.timeoutSeconds, 0...PairWireLimits.flowTimeoutMax, "Flow.timeout_seconds"),
            mark: wire.mark, tcp: wire.hasTcp ? try FlowTCP(wire.tcp) : nil)
        guard original.source.family == reply.source.family else { throw .invalid("Flow.reply") }
        guard original.ipProtocol == reply.ipProtocol else { throw .invalid("Flow.reply") }
        guard tcp == nil || original.ipProtocol == FlowProtocol.tcp else { throw .invalid("Flow.tcp") }
    }
}

extension FlowTCP {
    fileprivate var wire: WireFlowTCP {
        WireFlowTCP.with {
            $0.state = UInt32(state)
            $0.originalFlags = UInt32(originalFlags)
            $0.replyFlags = UInt32(replyFlags)
            $0.originalScale = UInt32(originalScale)
            $0.replyScale = UInt32(replyScale)
        }
    }

    fileprivate init(_ wire: WireFlowTCP) throws(PairWireError) {
        let scales = 0...FlowTCP.scaleMax
        self.init(
            state: try WireField.bounded(
                try WireField.narrow(wire.state, to: UInt8.self, "FlowTCP.state"), 0...FlowTCP.stateEnd - 1, "FlowTCP.state"),
            originalFlags: try WireField.narrow(wire.originalFlags, to: UInt8.self, "FlowTCP.original_flags"),
            replyFlags: try WireField.narrow(wire.replyFlags, to: UInt8.self, "FlowTCP.reply_flags"),
            originalScale: try WireField.bounded(
                try WireField.narrow(wire.originalScale, to: UInt8.self, "FlowTCP.original_scale"), scales, "FlowTCP.original_scale"),
            replyScale: try WireField.bounded(
                try WireField.narrow(wire.replyScale, to: UInt8.self, "FlowTCP.reply_scale"), scales, "FlowTCP.reply_scale"))
    }
}
