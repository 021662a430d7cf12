import HeapModule
import Session

/// What may be due. Each is checked against the session table when it fires: a late or needless one does nothing.
enum Deadline: Hashable {
    /// Our request in the IKE SA `localSPI` has not been answered; it has been repeated `repeats` times.
    case retransmit(session: SessionID, localSPI: UInt64, messageID: UInt32, repeats: Int)
    case liveness(SessionID)
    /// A NAT may forget us if nothing goes out.
    case keepAlive(SessionID)
    /// An SA of the session may be due to be replaced, or to end.
    case lifetime(SessionID)
    /// The window of the session is free for what we still want to ask.
    case waiting(SessionID)
    /// Our synchronization request has not been answered.
    case retransmitSync(session: SessionID, localSPI: UInt64, nonce: UInt32, repeats: Int)
    /// The turn of a session whose counters may not be the peer's.
    case synchronize(SessionID)
    /// The turn of a session whose peer's answers may have gone to the other node.
    case startOver(SessionID)
    /// The next page of sessions whose timers are not yet set.
    case sweep
    /// The next page of the former owner's last answers.
    case repeatAnswers

    var session: SessionID? {
        switch self {
        case .retransmit(let session, _, _, _), .liveness(let session), .keepAlive(let session), .lifetime(let session),
            .waiting(let session), .retransmitSync(let session, _, _, _), .synchronize(let session),
            .startOver(let session):
            session
        case .sweep, .repeatAnswers: nil
        }
    }
}

/// Deadlines in order of time; of equals, in order of arrival, so that a run can be repeated.
struct DeadlineQueue {
    private struct Entry: Comparable {
        let instant: Instant
        let number: UInt64
        let deadline: Deadline

        static func < (lhs: Entry, rhs: Entry) -> Bool { (lhs.instant.nanoseconds, lhs.number) < (rhs.instant.nanoseconds, rhs.number) }
    }

    private var heap = Heap<Entry>()
    /// Of all that were ever inserted: no two entries have the same number.
    private var count: UInt64 = 0

    var next: Instant? { heap.min?.instant }

    mutating func insert(_ deadline: Deadline, at instant: Instant) {
        count += 1
        heap.insert(Entry(instant: instant, number: count, deadline: deadline))
    }

    /// The earliest deadline that is due at `instant`, taken out.
    mutating func popDue(at instant: Instant) -> Deadline? {
        guard let first = heap.min, first.instant <= instant else { return nil }
        return heap.popMin()?.deadline
    }

    mutating func removeAll() { heap = Heap() }
}
