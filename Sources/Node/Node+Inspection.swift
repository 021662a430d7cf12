import IKE
package import Session

/// What the simulator's checkers ask a node, beside its table, its role and its two ends of replication.
extension Node {
    /// Names this life of the node.
    package var life: UInt64 { boot }

    /// What the data plane refused is still to be tried again.
    package var isRepairing: Bool { repairs.nextDeadline != nil }

    /// Replies or commands wait for the standby.
    package var isHolding: Bool { !hold.isEmpty }

    /// Nothing waits for anything.
    package var isAtRest: Bool { hold.isEmpty && parked.isEmpty && handover == nil && leases.isEmpty }

    /// Which queues are longer than their limits, and by how much.
    package var overgrown: [String] {
        let queues = [
            ("replies that wait", hold.count, 1000), ("datagrams that wait", parked.count, Node.parkedMax),
            ("news", journal.events.count, 2 * Journal.countMax), ("terminations", terminations.count, 100),
            ("announcements", announcements.count, 4),
            ("operators who wait for a hand-over", service.waiters.count, ServiceWork.waitersMax),
            ("sessions that linger", lingering.entries.count, Lingering.countMax),
            ("transfers given", transfers.departures.count, TransferWork.countMax),
            ("transfers taken", transfers.arrivals.count, TransferWork.countMax),
            ("endings that are remembered", divergence.count, Divergence.endingsMax),
            ("transfers asked for", transfers.activations.count, TransferWork.countMax),
            // What came and went while a batch was written is in it until the next.
            ("sessions to be written", state.queuedCount, 2 * (table.count + state.onDiskCount) + 1000),
        ]
        return queues.filter { $0.1 > $0.2 }.map { "\($0.0): \($0.1) of \($0.2)" }
    }

    /// It was owner beside the present one, which may not have all of it yet.
    package var holdsWhatOwnerMayNot: Bool { owesMerge && mayKnowMore }

    /// The standby was told of this half-open IKE SA.
    package func sharesHandshake(_ spi: UInt64) -> Bool { ike.isShared(halfOpen: spi) }

    /// It is half-open here, or has become a session, or has ended.
    package func holdsHandshake(_ spi: UInt64) -> Bool {
        ike.isBeginning(localSPI: spi) || table.isInUse(localSPI: spi) || ike.hasEnded(localSPI: spi)
    }

    package var halfOpenCount: Int { ike.halfOpenCount }

    /// The counters of CHILD SAs are of those that there are.
    package var countsTrafficOfKnownSAs: Bool { traffic.keys.allSatisfy { table.isInUse(inboundSPI: $0) } }

    /// What is counted beside the table is what the table holds.
    package var countsRoadsRightly: Bool {
        var counts = RoadCounts()
        for session in table.sessions.values { counts.add(session, configuration.nodeAddresses, 1) }
        return counts == roads
    }

    /// The numbers that this node's data plane may use.
    package func numbers(of child: ChildSA, in session: Session) -> LeasedNumbers { plan.numbers(of: child, in: session) }
}
