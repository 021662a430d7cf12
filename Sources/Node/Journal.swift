import Control
import IKE
import Pair
import Session

/// What the node remembers of what happened, for `tandem events`: the last `countMax`.
struct Journal {
    /// An hour of a busy gateway's news, some 200 kB.
    static let countMax = 1024

    enum Kind: String {
        case takeover
        case stepDown = "step_down"
        case standBy = "stand_by"
        case pairState = "pair_state"
        case transfer
        case overload
        /// What speaks for and against a node's serving, of either node.
        case fitness
        /// A hand-over that nobody asked for.
        case handover
        /// An operator took the node out of service, or back.
        case maintenance
        case ike
        case context
        case certificate
        case arbitration
        case path
        case state
    }

    private(set) var events: [EventSummary] = []
    private var index: UInt64 = 0

    mutating func append(_ kind: Kind, level: LogLine.Level, text: String, session: Session?, now: Now) -> EventSummary {
        index += 1
        let event = EventSummary(
            index: index, atMilliseconds: now.wallMilliseconds, level: level.name, kind: kind.rawValue,
            connection: session?.authorization.connection, uniqueID: session?.uniqueID, text: text)
        // Trimmed by halves, so that an append costs the same on average however many there are.
        if events.count >= 2 * Journal.countMax { events.removeFirst(Journal.countMax) }
        events.append(event)
        return event
    }

    func events(after index: UInt64, limit: Int) -> [EventSummary] {
        Array(events.suffix(Journal.countMax).drop { $0.index <= index }.prefix(limit))
    }
}

extension Node {
    /// Remembers what happened, and tells the clients that follow.
    mutating func note(_ kind: Journal.Kind, _ text: String, now: Now) {
        push(journal.append(kind, level: .notice, text: text, session: nil, now: now), group: "DMN")
    }

    /// What the IKE machine says: into the log always, into the journal unless it is only for debugging.
    mutating func report(_ event: IKEEvent, now: Now) {
        let (loudness, text) = event.summary
        let level: LogLine.Level
        switch loudness {
        case .debug: level = .debug
        case .info: level = .info
        case .warning: level = .warning
        }
        log(level, text)
        guard level != .debug else { return }
        let session = event.session.flatMap { table[$0] }
        push(journal.append(.ike, level: level, text: text, session: session, now: now), group: "IKE")
    }

    private mutating func push(_ event: EventSummary, group: String) {
        let line = ControlLogLine(
            group: group, level: 1, thread: 0, connection: event.connection, uniqueID: event.uniqueID, message: event.text)
        effects.append(.control(.log(line)))
        effects.append(.control(.happened(event)))
    }
}

extension IKEEvent {
    fileprivate var session: SessionID? {
        switch self {
        case .authenticated(let session, _, _, _), .childAdded(let session, _, _), .childRekeyed(let session, _, _),
            .childDeleted(let session, _), .childRefused(let session, _), .poolsExhausted(let session, _, _), .ikeRekeyed(let session),
            .replaced(let session, _),
            .requestRefused(let session, _, _), .deletedByPeer(let session), .terminated(let session), .peerDead(let session),
            .moved(let session, _, _), .successorWanted(let session), .successorIncomplete(let session, _), .relocated(let session, _, _),
            .unreachable(let session, _), .stayed(let session, _), .synchronized(let session, _, _, _), .redirectAnswered(let session, _),
            .handedOn(let session), .contextTransferMessage(let session, _):
            session
        case .authenticationFailed, .noProposalChosen, .invalidKeyExchange, .cookieRequired, .dropped, .halfOpenExpired,
            .initiationFailed, .redirected, .redirectIgnored, .peerRedirected:
            nil
        }
    }
}
