import IKE
import Session
import Synchronization

/// IKE datagrams between the packet thread and whoever handles them. Bounded, so that a flood costs packets and not memory; and each
/// rank by itself, so that a flood of requests that begin an IKE SA takes no place from those who are past it.
final class IKEMailbox: Sendable {
    typealias Schedule = @Sendable (@escaping @Sendable () -> Void) -> Void

    /// Of one rank. IKE peers repeat what is lost; this many are answered in some 2 s.
    static let countMax = 4096
    /// The same limit for large datagrams.
    static let octetCountMax = 8 << 20

    private struct Lane {
        var datagrams: [Datagram] = []
        var octetCount = 0

        /// - Returns: false when it is full.
        mutating func put(_ datagram: Datagram) -> Bool {
            guard datagrams.count < IKEMailbox.countMax, octetCount + datagram.bytes.count <= IKEMailbox.octetCountMax else {
                return false
            }
            datagrams.append(datagram)
            octetCount += datagram.bytes.count
            return true
        }
    }

    private struct Waiting {
        var ongoing = Lane()
        var returning = Lane()
        var newcomers = Lane()
        var isScheduled = false

        mutating func put(_ datagram: Datagram) -> Bool {
            switch DatagramRank(datagram) {
            case .ongoing: ongoing.put(datagram)
            case .returning: returning.put(datagram)
            case .newcomer: newcomers.put(datagram)
            }
        }

        var all: [Datagram] { ongoing.datagrams + returning.datagrams + newcomers.datagrams }
    }

    private let waiting = Mutex(Waiting())
    private let schedule: Schedule
    private let handler: @Sendable ([Datagram]) -> Void

    init(schedule: @escaping Schedule, handler: @escaping @Sendable ([Datagram]) -> Void) {
        self.schedule = schedule
        self.handler = handler
    }

    /// - Returns: how many were dropped because the lane of their rank is full.
    func put(_ batch: [Datagram]) -> Int {
        let (dropped, mustSchedule) = waiting.withLock { waiting in
            var dropped = 0
            for datagram in batch where !waiting.put(datagram) { dropped += 1 }
            let mustSchedule = !waiting.isScheduled && !batch.isEmpty
            if mustSchedule { waiting.isScheduled = true }
            return (dropped, mustSchedule)
        }
        if mustSchedule { schedule { self.deliver() } }
        return dropped
    }

    private func deliver() {
        let batch = waiting.withLock { waiting in
            defer { waiting = Waiting() }
            return waiting.all
        }
        if !batch.isEmpty { handler(batch) }
    }
}
