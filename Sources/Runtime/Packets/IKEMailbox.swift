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

    /// What the packet thread reads at once. If more gathered, it comes faster than it is handled, and the next delivery is put off: an
    /// event loop looks at its sockets only when nothing more is to be run on it.
    static let calmMax = ReceiveBatch.capacity

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
        /// More than `calmMax` were delivered last.
        var isBehind = false

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
    private let scheduleLater: Schedule
    private let handler: @Sendable ([Datagram]) -> Void

    /// - Parameter scheduleLater: as `schedule`, after a pause; `nil`: the same.
    init(schedule: @escaping Schedule, scheduleLater: Schedule? = nil, handler: @escaping @Sendable ([Datagram]) -> Void) {
        self.schedule = schedule
        self.scheduleLater = scheduleLater ?? schedule
        self.handler = handler
    }

    /// - Returns: how many were dropped because the lane of their rank is full.
    func put(_ batch: [Datagram]) -> Int {
        let (dropped, mustSchedule, isBehind) = waiting.withLock { waiting in
            var dropped = 0
            for datagram in batch where !waiting.put(datagram) { dropped += 1 }
            let mustSchedule = !waiting.isScheduled && !batch.isEmpty
            if mustSchedule { waiting.isScheduled = true }
            return (dropped, mustSchedule, waiting.isBehind)
        }
        if mustSchedule { (isBehind ? scheduleLater : schedule) { self.deliver() } }
        return dropped
    }

    private func deliver() {
        let batch = waiting.withLock { waiting in
            let all = waiting.all
            waiting = Waiting()
            waiting.isBehind = all.count > IKEMailbox.calmMax
            return all
        }
        if !batch.isEmpty { handler(batch) }
    }
}
