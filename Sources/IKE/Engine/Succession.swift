import IKEWire
public import Session

/// Sessions that are replaced by others from scratch: reauthentication (RFC 7296 §2.8.3, RFC 4478) and redirects (RFC 5685). The new one
/// stands with all its children before the old one is deleted.
///
/// Everything that decides is replicated (when the old one has to go, which session is whose successor), so that a new owner goes on
/// wherever the old one was. The call itself is made by the caller, which knows what peers may be called: it is asked by events.
extension IKEEngine {
    enum Succession: Equatable {
        /// Nothing, or not now.
        case nothing
        /// The caller has something to do.
        case asks(IKEEvent)
        /// The successor has all that this session has.
        case isComplete
    }

    /// What is to be done for a session that has to be replaced.
    func succession(of session: Session, table: SessionTable, context: IKEContext) -> Succession {
        guard session.originalRole == .initiator, !session.isClosing else { return .nothing }
        let isOld = session.reauthenticationBegins.map { $0 <= context.now.wallMilliseconds } ?? false
        guard isOld || session.redirectedTo != nil else { return .nothing }
        guard let successor = table.successor(of: session.id), !successor.isClosing else {
            let isCalling = initiations.first { $0.predecessor == session.id } != nil
            return isCalling ? .nothing : .asks(.successorWanted(session: session.id))
        }
        let configured = connection(of: session)?.children.map(\.name) ?? []
        let wanted = session.children.filter { !$0.isRekeyed && configured.contains($0.name) }.map(\.name)
        guard let missing = wanted.first(where: { !successor.hasChild($0) }) else { return .isComplete }
        return isAdding(missing, in: successor) ? .nothing : .asks(.successorIncomplete(session: successor.id, child: missing))
    }

    /// The session that a changed one replaces is looked at again at once.
    mutating func checkPredecessor(of session: Session, table: SessionTable, context: IKEContext) {
        guard let old = session.predecessor, table[old] != nil else { return }
        appointments[old] = context.now.instant
        deadlines.insert(.lifetime(old), at: context.now.instant)
    }

    /// Whether a new CHILD SA of this configured child is being asked for.
    public func isAdding(_ child: String, in session: Session) -> Bool {
        session.ikeSA.pendingRequests.contains { $0.purpose.childOffer.map { $0.name == child && $0.replacing == nil } ?? false }
            || (waiting[session.id] ?? []).contains { wish in
                if case .createChildSA(let wish) = wish { wish.name == child && wish.replacing == nil } else { false }
            }
    }

    /// The call that will replace this session.
    public func isSucceeding(_ session: SessionID) -> Bool { initiations.first { $0.predecessor == session } != nil }
}

extension Session {
    /// When the peer that called begins to authenticate anew, in milliseconds since 1970: between eight and nine tenths of the time that
    /// it has. Taken from the session's random identifier, so that both nodes keep the same appointment.
    ///
    /// Not in the first seconds: a peer that gives no time at all would be called without end.
    public var reauthenticationBegins: Int64? {
        guard originalRole == .initiator, let deadline = reauthenticateAt else { return nil }
        let time = max(0, deadline - establishedWallMilliseconds)
        let jitter = Int64(truncatingIfNeeded: id.rawValue % 1000)
        return max(deadline - time / 10 - time / 10_000 * jitter, establishedWallMilliseconds + Session.reauthenticationPause)
    }

    /// In milliseconds.
    private static let reauthenticationPause: Int64 = 5000
    /// A peer that wants it sooner than that, or at once, would leave no time to make a successor.
    static let reauthenticationSecondsMin: Int64 = 10

    /// We asked the peer to delete it.
    public var isClosing: Bool { ikeSA.pendingRequests.contains { $0.purpose == .deleteIKESA } }

    /// It has a CHILD SA of this configured child that is not being replaced.
    public func hasChild(_ name: String) -> Bool { children.contains { $0.name == name && !$0.isRekeyed } }
}
