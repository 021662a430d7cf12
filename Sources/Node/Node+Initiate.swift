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

    enum CallRefusal: Error, CustomStringConvertible {
        case because(String)
        /// What is asked for is there.
        case isEstablished

        var description: String {
            switch self {
            case .because(let reason): reason
            case .isEstablished: "it is there"
            }
        }
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
        let (local, remote) = try endpoints(of: connection, now: now)
        let sessions = openSessions(of: connection.name)
        if sessions.contains(where: { $0.hasChild(child.name) }) { throw .isEstablished }
        let deadline = now.instant + Node.callPatience
        if let session = ike.initiation(connection: connection.name, child: child.name) {
            return Call(token: token, session: session, child: child.name, deadline: deadline)
        }
        if let session = sessions.last { return try addChild(child.name, to: session, token: token, deadline: deadline, now: now) }
        do throws(InitiationRefusal) {
            let begun = try ike.initiate(
                connection: connection, child: child, local: local, remote: remote, table: table, context: context(now))
            commit(begun.outcome, now: now)
            return Call(token: token, session: begun.session, child: child.name, deadline: deadline)
        } catch {
            throw .because("connection \(connection.name): \(error.rawValue)")
        }
    }

    /// A further CHILD SA in an IKE SA that stands (RFC 7296 §1.3.1).
    private mutating func addChild(
        _ child: String, to session: Session, token: RequestToken, deadline: Instant, now: Now
    ) throws(CallRefusal) -> Call {
        if !ike.isAdding(child, in: session) {
            commit(ike.addChild(named: child, in: session.id, table: table, context: context(now)), now: now)
            guard let session = table[session.id], ike.isAdding(child, in: session) else {
                throw .because("nothing of the child \(child) can be offered to the peer")
            }
        }
        return Call(token: token, session: session.id, child: child, deadline: deadline)
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

    /// The first host of `remote_addrs` for which there is an address of ours: of `local_addrs`, or else a shared one. A gateway that
    /// redirected the connection's last call goes before (RFC 5685).
    func endpoints(of connection: ConnectionConfiguration, now: Now) throws(CallRefusal) -> (local: Endpoint, remote: Endpoint) {
        let name = connection.name
        if connection.remoteAddresses.isEmpty { throw .because("connection \(name) has remote_addrs %any: there is nobody to call") }
        if connection.callees.isEmpty { throw .because("connection \(name) has no single host in remote_addrs: there is nobody to call") }
        let redirected = ike.redirectedAddress(connection: name, at: now.instant).map { [$0] } ?? []
        for remote in redirected + connection.callees {
            if let local = ike.localAddress(for: remote, connection: connection) { return (Endpoint(local, 500), Endpoint(remote, 500)) }
        }
        throw .because("connection \(name) has no single host in local_addrs of the family of \(connection.callees[0])")
    }

    // MARK: - How it went

    /// Remembers why a call failed, for those who wait for it.
    mutating func noteCall(_ event: IKEEvent) {
        switch event {
        case .initiationFailed(let session, _, _, let reason):
            for index in calls.indices where calls[index].session == session { calls[index].failure = reason }
        case .requestRefused(let session, .childSA(let name, isRekey: false), let notify):
            for index in calls.indices where calls[index].session == session && calls[index].child == name {
                calls[index].failure = .childRefused(notify: notify)
            }
        default: break
        }
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
        let session = table[call.session]
        if let session, session.hasChild(call.child) {
            let entry = call.entry ?? sender.nextIndex - 1
            call.entry = entry
            return !sender.holdsReplies || sender.acknowledged >= entry ? .success : nil
        }
        if let session {
            guard ike.isAdding(call.child, in: session) else { return .failure(InitiationFailure.badChild.text) }
        } else if !ike.isInitiating(call.session) {
            return .failure("the session ended as soon as it was there")
        }
        return now.instant >= call.deadline ? .failure("the peer has not answered yet") : nil
    }
}

extension ConnectionConfiguration {
    /// Whom the gateway may call.
    fileprivate var callees: [IPAddress] { remoteAddresses.hosts }
}
