/// What a client asks of the node. A command of strongSwan's protocol, or one of Tandem's beside them.
///
/// Each case says which `ControlResponse` answers it. `.done` with an error may answer any of them.
public enum ControlRequest: Hashable, Sendable {
    /// `version`, answered by `.version`.
    case version
    /// `stats`, answered by `.stats`.
    case stats
    /// `list-sas` and `tandem-sessions`: which sessions there are, answered by `.sessionIDs`, in the order in which they are shown.
    /// What each looks like is asked with `.describe`, a page at a time, so that the longest listing never holds up the node.
    case findSessions(SessionFilter)
    /// The sessions with these identifiers, at most `describedSessionsMax`; answered by `.sas`, without those that are gone.
    /// Never comes from a client.
    case describe([UInt64])
    /// `list-conns`, answered by `.connections`; all of them when `name` is `nil`.
    case listConnections(name: String?)
    /// `get-pools`, answered by `.pools`.
    case listPools(name: String?, withLeases: Bool)
    /// `initiate`, answered by any number of `.progress`, then `.done`.
    case initiate(InitiateRequest)
    /// `terminate`, answered by any number of `.progress`, then `.done`.
    case terminate(TerminateRequest)
    /// `rekey`: begins to replace what matches, answered by `.done` at once.
    case rekey(RekeyRequest)
    /// `tandem-get`: a session as a document for another gateway, answered by `.context`. Keys are in it.
    case get(GetRequest)
    /// `tandem-put`: takes such a document's session, answered by `.context`.
    case put(PutRequest)
    /// `tandem-redirect`, answered by `.redirect` when the last session that is meant was told.
    case redirect(RedirectRequest)
    /// `tandem-status`, answered by `.status`.
    case status
    /// `tandem-switchover`, answered by any number of `.progress`, then `.switchover`. With `force` also to a standby that is not
    /// ready, not fit, or out of service.
    case switchover(force: Bool)
    /// `tandem-drain`, `tandem-standby`, `tandem-resume`, answered by `.maintenance`.
    case maintain(MaintenanceRequest)
    /// `tandem-transfer`, answered by `.transfer`.
    case transfer(TransferRequest)
    /// `tandem-pair-rotate`: a new key and certificate for this node, valid for so many days; answered by `.rotation`.
    case rotate(days: Int)
    /// `tandem-events`: what is remembered with an index above `after`, oldest first, at most `eventsMax`; answered by `.events`.
    case events(after: UInt64)
    /// Not a command of ours: answered by `.unknownCommand`.
    case unknown(String)

    /// Sessions in one `.describe`: about 100 kB of summaries, a fraction of a millisecond of the node's time.
    public static let describedSessionsMax = 64
    /// Events in one answer: fits a packet with every text at its longest.
    public static let eventsMax = 256
}

/// Which sessions a listing shows. What is `nil` or false does not restrict.
public struct SessionFilter: Hashable, Sendable {
    /// Also those that are held for the other node: Tandem's listing shows them, strongSwan's does not.
    public var includesHeld: Bool
    /// The connection's name.
    public var connection: String?
    /// The session's number for people.
    public var uniqueID: UInt32?
    /// Sessions that have a CHILD SA of this name.
    public var child: String?
    /// Sessions that have the CHILD SA with this number for people.
    public var childUniqueID: UInt32?
    /// What an operator calls a session: its connection's name, the peer's identity or address, a leased address, its number, or its
    /// identifier in hexadecimal.
    public var name: String?

    public init(
        includesHeld: Bool = false, connection: String? = nil, uniqueID: UInt32? = nil, child: String? = nil, childUniqueID: UInt32? = nil,
        name: String? = nil
    ) {
        self.includesHeld = includesHeld
        self.connection = connection
        self.uniqueID = uniqueID
        self.child = child
        self.childUniqueID = childUniqueID
        self.name = name
    }

    /// Whether a summary is of a session that the filter lets through. `includesHeld` is not looked at.
    public func matches(_ summary: SASummary) -> Bool {
        if let connection, connection != summary.name { return false }
        if let uniqueID, uniqueID != summary.uniqueID { return false }
        if let child, !summary.children.contains(where: { $0.name == child }) { return false }
        if let childUniqueID, !summary.children.contains(where: { $0.uniqueID == childUniqueID }) { return false }
        guard let name else { return true }
        return [summary.name, summary.remoteID, summary.remoteHost, String(summary.uniqueID)].contains(name)
            || summary.remoteVirtualAddresses.contains(name)
            || hexadecimal(summary.sessionID, digits: 16) == name.lowercased()
    }
}

/// `initiate`: set up a CHILD SA, and its IKE SA when there is none.
public struct InitiateRequest: Hashable, Sendable {
    /// The child's name; `nil` when only the IKE SA is wanted, or the connection's only child.
    public var child: String?
    /// The connection's name; `nil` when the child's name says it.
    public var connection: String?
    /// How long the client waits, in milliseconds; `nil` without limit, 0 not at all. Kept by the server.
    public var timeoutMilliseconds: Int64?
    /// Log lines up to this level are wanted as `.progress`.
    public var logLevel: Int

    public init(child: String? = nil, connection: String? = nil, timeoutMilliseconds: Int64? = nil, logLevel: Int = 1) {
        self.child = child
        self.connection = connection
        self.timeoutMilliseconds = timeoutMilliseconds
        self.logLevel = logLevel
    }
}

/// `rekey`: replace the IKE SAs, or the CHILD SAs, that match everything that is given. At least one is.
public struct RekeyRequest: Hashable, Sendable {
    public var child: String?
    public var connection: String?
    /// The number of a CHILD SA.
    public var childUniqueID: UInt32?
    /// The number of an IKE SA.
    public var uniqueID: UInt32?

    public init(child: String? = nil, connection: String? = nil, childUniqueID: UInt32? = nil, uniqueID: UInt32? = nil) {
        self.child = child
        self.connection = connection
        self.childUniqueID = childUniqueID
        self.uniqueID = uniqueID
    }

    /// The CHILD SAs are meant, not the IKE SAs.
    public var isForChildren: Bool { child != nil || childUniqueID != nil }
}

/// `tandem-get`: the one session that an operator means.
public struct GetRequest: Hashable, Sendable {
    /// As `SessionFilter.name`.
    public var name: String
    /// The session leaves this gateway.
    public var detach: Bool

    public init(name: String, detach: Bool = false) {
        self.name = name
        self.detach = detach
    }
}

/// `tandem-put`.
public struct PutRequest: Hashable, Sendable {
    /// The document, not sealed.
    public var document: String
    /// The address of this gateway at which the session goes on; `nil`: the giver's, or one that the connection may use.
    public var local: String?

    public init(document: String, local: String? = nil) {
        self.document = document
        self.local = local
    }
}

/// `terminate`: close the sessions, or the CHILD SAs, that match everything that is given. At least one is.
public struct TerminateRequest: Hashable, Sendable {
    public var child: String?
    public var connection: String?
    /// The number of a CHILD SA.
    public var childUniqueID: UInt32?
    /// The number of an IKE SA.
    public var uniqueID: UInt32?
    /// Do not wait for the peer's answer.
    public var force: Bool
    /// How long the client waits, in milliseconds; `nil` without limit, 0 not at all. Kept by the server.
    public var timeoutMilliseconds: Int64?
    /// Log lines up to this level are wanted as `.progress`.
    public var logLevel: Int

    public init(
        child: String? = nil, connection: String? = nil, childUniqueID: UInt32? = nil, uniqueID: UInt32? = nil, force: Bool = false,
        timeoutMilliseconds: Int64? = nil, logLevel: Int = 1
    ) {
        self.child = child
        self.connection = connection
        self.childUniqueID = childUniqueID
        self.uniqueID = uniqueID
        self.force = force
        self.timeoutMilliseconds = timeoutMilliseconds
        self.logLevel = logLevel
    }

    /// The CHILD SAs are meant, not the IKE SAs.
    public var isForChildren: Bool { child != nil || childUniqueID != nil }
}
