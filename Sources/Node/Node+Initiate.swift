import Control
import IKE
import Pair
import Session

/// An operator who waits for an `initiate`.
struct Call {
    var token: RequestToken
    /// What the session is, or will be, called.
    var session: SessionID
    var child: String
    var deadline: Instant
    /// Why it came to nothing.
    var failure: InitiationFailure?
    /// The last entry when the session was there: once the standby has it, the data plane has the SAs.
    var entry: UInt64?
}

/// `initiate`: the gateway calls a peer.
extension Node {
    /// How long an operator's `initiate` waits: past the retransmissions of two requests.
    static let callPatience: Duration = .seconds(400)
    /// Operators who wait at once; a client that gives up and asks again leaves its place behind until then.
    static let callsMax = 256

    private enum CallRefusal: Error {
        case because(String)
        /// What is asked for is there.
        case isEstablished
    }

    mutating func initiate(_ request: InitiateRequest, token: RequestToken, now: Now) {
        do throws(CallRefusal) {
            let call = try call(request, token: token, now: now)
            calls.append(call)
        } catch {
            switch error {
            case .isEstablished: respond(token, .done(.success))
            case .because(let reason): respond(token, .done(.failure(reason)))
            }
        }
    }

    /// Begins the call, or joins one that is under way.
    private mutating func call(_ request: InitiateRequest, token: RequestToken, now: Now) throws(CallRefusal) -> Call {
        let (connection, child) = try target(of: request)
        guard isOwner else { throw .because("this node is \(roles.role.name); ask the active one") }
        guard handover == nil else { throw .because("a switchover is under way") }
        guard calls.count < Node.callsMax else { throw .because("\(calls.count) operators wait for calls already") }
        let (local, remote) = try endpoints(of: connection)
        try checkSessions(of: connection, child: child)
        let deadline = now.instant + Node.callPatience
        if let session = ike.initiation(connection: connection.name, child: child.name) {
            return Call(token: token, session: session, child: child.name, deadline: deadline)
        }
        do throws(InitiationRefusal) {
            let begun = try ike.initiate(
                connection: connection, child: child, local: local, remote: remote, table: table, context: context(now))
            commit(begun.outcome, now: now)
            return Call(token: token, session: begun.session, child: child.name, deadline: deadline)
        } catch {
            throw .because("connection \(connection.name): \(error.rawValue)")
        }
    }

    /// The first connection that has the child and a peer to call, or that has the child at all. A name that is no child's may be
    /// a connection's.
    private func target(of request: InitiateRequest) throws(CallRefusal) -> (ConnectionConfiguration, ChildConfiguration) {
        let connections = configuration.ike.connections.filter { request.connection == nil || request.connection == $0.name }
        let found = connections.compactMap { connection in
            connection.children.first { $0.name == request.child }.map { (connection, $0) }
        }
        if let best = found.first(where: { !$0.0.callees.isEmpty }) ?? found.first { return best }
        let name = request.connection ?? request.child ?? ""
        guard request.child == nil || request.connection == nil,
            let connection = configuration.ike.connections.first(where: { $0.name == name })
        else {
            throw .because("no connection \(request.connection ?? "") with a child \(request.child ?? "") is configured")
        }
        guard connection.children.count == 1, let child = connection.children.first else {
            throw .because("connection \(name) has \(connection.children.count) children: name one")
        }
        return (connection, child)
    }

    /// The first host of `remote_addrs` for which there is an address of ours: of `local_addrs`, or else a shared one.
    private func endpoints(of connection: ConnectionConfiguration) throws(CallRefusal) -> (local: Endpoint, remote: Endpoint) {
        let name = connection.name
        if connection.remoteAddresses.isEmpty { throw .because("connection \(name) has remote_addrs %any: there is nobody to call") }
        if connection.callees.isEmpty { throw .because("connection \(name) has no single host in remote_addrs: there is nobody to call") }
        let own = connection.localAddresses.isEmpty ? configuration.addresses.map(\.prefix.address) : connection.localAddresses.hosts
        for remote in connection.callees {
            if let local = own.first(where: { $0.family == remote.family }) { return (Endpoint(local, 500), Endpoint(remote, 500)) }
        }
        throw .because("connection \(name) has no single host in local_addrs of the family of \(connection.callees[0])")
    }

    private func checkSessions(of connection: ConnectionConfiguration, child: ChildConfiguration) throws(CallRefusal) {
        let isOpen: (Session) -> Bool = { session in
            session.authorization.connection == connection.name && !session.isBeingDeleted
        }
        let candidates = connection.remoteIdentity.map { table.sessions(remoteIdentity: $0) } ?? Array(table.sessions.values)
        let sessions = candidates.filter(isOpen)
        if sessions.contains(where: { $0.hasChild(child.name) }) { throw .isEstablished }
        guard sessions.isEmpty else {
            throw .because(
                "connection \(connection.name) is established without the child \(child.name): "
                    + "a further CHILD SA in an IKE SA that stands is not supported yet; terminate it first")
        }
    }

    // MARK: - How it went

    /// Remembers why a call failed, for those who wait for it.
    mutating func noteCall(_ event: IKEEvent) {
        guard case .initiationFailed(let session, _, _, let reason) = event else { return }
        for index in calls.indices where calls[index].session == session { calls[index].failure = reason }
    }

    /// Answers the operators whose calls have come to an end, or who have waited long enough.
    mutating func finishCalls(now: Now) {
        guard !calls.isEmpty else { return }
        var waiting: [Call] = []
        for var call in calls {
            if let answer = answer(to: &call, now: now) {
                respond(call.token, .done(answer))
            } else {
                waiting.append(call)
            }
        }
        calls = waiting
    }

    /// `nil` as long as it is not known. Success means that both nodes have the SAs, or that this one stands alone.
    private func answer(to call: inout Call, now: Now) -> DoneSummary? {
        if let failure = call.failure { return .failure(failure.text) }
        guard isOwner else { return .failure("this node is not active any more; ask the other one") }
        if let session = table[call.session], session.hasChild(call.child) {
            let entry = call.entry ?? sender.nextIndex - 1
            call.entry = entry
            return !sender.holdsReplies || sender.acknowledged >= entry ? .success : nil
        }
        guard ike.isInitiating(call.session) else { return .failure("the session ended as soon as it was there") }
        return now.instant >= call.deadline ? .failure("the peer has not answered yet") : nil
    }
}

extension ConnectionConfiguration {
    /// Whom the gateway may call.
    fileprivate var callees: [IPAddress] { remoteAddresses.hosts }
}

extension [IPPrefix] {
    fileprivate var hosts: [IPAddress] { filter { $0.length == $0.address.bitWidth && !$0.address.isUnspecified }.map(\.address) }
}

extension Session {
    /// We asked the peer to delete it.
    var isBeingDeleted: Bool { ikeSA.pendingRequests.contains { $0.purpose == .deleteIKESA } }

    fileprivate func hasChild(_ name: String) -> Bool { children.contains { $0.name == name && !$0.isRekeyed } }
}
