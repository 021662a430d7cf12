import Session
import Synchronization

/// IKE datagrams between the packet thread and whoever handles them. Bounded, so that a flood costs packets and not memory.
final class IKEMailbox: Sendable {
    typealias Schedule = @Sendable (@escaping @Sendable () -> Void) -> Void

    /// IKE peers repeat what is lost; this many are answered in some 2 s.
    static let countMax = 4096
    /// The same limit for large datagrams.
    static let octetCountMax = 8 << 20

    private struct Waiting {
        var datagrams: [Datagram] = []
        var octetCount = 0
        var isScheduled = false
    }

    private let waiting = Mutex(Waiting())
    private let schedule: Schedule
    private let handler: @Sendable ([Datagram]) -> Void

    init(schedule: @escaping Schedule, handler: @escaping @Sendable ([Datagram]) -> Void) {
        self.schedule = schedule
        self.handler = handler
    }

    /// - Returns: how many were dropped because the mailbox is full.
    func put(_ batch: [Datagram]) -> Int {
        let (dropped, mustSchedule) = waiting.withLock { waiting in
            var dropped = 0
            for datagram in batch {
                if waiting.datagrams.count < IKEMailbox.countMax,
                    waiting.octetCount + datagram.bytes.count <= IKEMailbox.octetCountMax
                {
                    waiting.datagrams.append(datagram)
                    waiting.octetCount += datagram.bytes.count
                } else {
                    dropped += 1
                }
            }
            let mustSchedule = !waiting.isScheduled && !waiting.datagrams.isEmpty
            if mustSchedule { waiting.isScheduled = true }
            return (dropped, mustSchedule)
        }
        if mustSchedule { schedule { self.deliver() } }
        return dropped
    }

    private func deliver() {
        let batch = waiting.withLock { waiting in
            defer { waiting = Waiting() }
            return waiting.datagrams
        }
        if !batch.isEmpty { handler(batch) }
    }
}
