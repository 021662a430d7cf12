import Context
import Control
import Cryptography
import IKE
import Pair
import Session

/// Context transfer with gateways that are no pair with this one (RFC 4067): who says what, and when each session has which owner.
///
/// `Node+Departures` gives sessions away, `Node+Arrivals` takes them; with `Node+Activation` a client asks for it, and what `Node+Lingering`
/// keeps for a moment sends on what comes late. At every moment one of the two gateways speaks for a session: the giver
/// until its client has answered the REDIRECT, the taker from the giver's last word on (law 4).
extension Node {
    mutating func transfer(_ request: TransferRequest, token: RequestToken, now: Now) {
        func refuse(_ reason: String) {
            respond(token, .transfer(TransferSummary(outcome: .refused, reason: reason, gateway: request.gateway)))
        }
        guard isOwner, handover == nil else { return refuse("this node is \(roles.role.name); ask the active one") }
        let gateway = configuration.gateways.first { $0.name == request.gateway }
        do throws(TransferRefusal) {
            switch (request.direction, gateway, IPAddress(request.gateway)) {
            case (.to, let gateway?, _):
                let session = try session(named: request.name, now: now)
                try depart(session, to: gateway, transfer: random.uint32(), token: token, now: now)
            case (.from, let gateway?, _): try fetch(request.name, from: gateway, token: token, now: now)
            case (.to, nil, let address?): try activate(session(named: request.name, now: now), at: address, token: token, now: now)
            case (_, nil, _): return refuse("there is no [[gateway]] \(request.gateway) in the configuration")
            }
        } catch {
            refuse(error.text)
        }
    }

    private func session(named name: String, now: Now) throws(TransferRefusal) -> Session {
        let found = find(SessionFilter(name: name))
        guard let id = found.first, let session = table[SessionID(rawValue: id)] else {
            throw .because("no session is called \(name)", .unknownNode)
        }
        guard found.count == 1 else {
            throw .because("\(found.count) sessions are called \(name); use a number of tandem sessions", .unknownNode)
        }
        return session
    }

    // MARK: - Messages

    mutating func transferMessageReceived(_ message: CXTPMessage, from gateway: String, now: Now) {
        counters.transferMessagesReceived += 1
        guard let gateway = configuration.gateways.first(where: { $0.name == gateway }) else { return unexpected(message, from: gateway) }
        switch message {
        case .data(let data): contextReceived(data, from: gateway.name, now: now)
        case .dataReply(let reply): replyReceived(reply, from: gateway.name, now: now)
        case .cancel(let mobileNode): cancelReceived(mobileNode, from: gateway.name, now: now)
        case .request(let request): contextRequested(request, by: gateway, now: now)
        // They are between a mobile node and a gateway, inside their IKE SA, never between gateways.
        case .activateRequest, .activateAcknowledge: unexpected(message, from: gateway.name)
        }
    }

    mutating func unexpected(_ message: CXTPMessage, from gateway: String) {
        counters.transferMessagesUnexpected += 1
        log(.debug, "dropped a message of another gateway", [.init("gateway", gateway), .init("client", "\(message.mobileNode)")])
    }

    mutating func send(_ message: CXTPMessage, to gateway: String) { effects.append(.transfer(to: gateway, message)) }

    private mutating func replyReceived(_ reply: DataReply, from gateway: String, now: Now) {
        if let arrival = transfers.arrivals[reply.mobileNode], arrival.gateway == gateway, arrival.stage == .requested {
            return requestRefused(reply, now: now)
        }
        guard let departure = transfers.departures[reply.mobileNode], departure.gateway.name == gateway else {
            return unexpected(.dataReply(reply), from: gateway)
        }
        switch departure.stage {
        case .offered: offerAnswered(reply, now: now)
        case .handedOver: finish(reply.mobileNode, now: now)
        case .settling, .moving, .redirecting: unexpected(.dataReply(reply), from: gateway)
        }
    }

    private mutating func cancelReceived(_ mobileNode: IPAddress, from gateway: String, now: Now) {
        if let arrival = transfers.arrivals[mobileNode], arrival.gateway == gateway {
            drop(mobileNode, because: "\(gateway) keeps the session", now: now)
        } else if let departure = transfers.departures[mobileNode], departure.gateway.name == gateway, departure.stage == .offered {
            fail(mobileNode, because: "\(gateway) cancelled the transfer", tell: false, now: now)
        } else {
            unexpected(.cancel(mobileNode), from: gateway)
        }
    }

    mutating func transferLinkClosed(_ gateway: String, reason: String, now: Now) {
        for (mobileNode, departure) in transfers.departures where departure.gateway.name == gateway {
            switch departure.stage {
            // Over another link, if there is one: the copy need not wait for its time to be over.
            case .offered: fail(mobileNode, because: "the link to \(gateway): \(reason)", tell: true, now: now)
            // Only our last word tells who speaks: it goes out again over another link.
            case .handedOver where departure.move == .mobike: break
            case .handedOver: finish(mobileNode, unconfirmed: "\(gateway) has not confirmed it: \(reason)", now: now)
            // The client is told already, or need not be told by way of the other gateway.
            case .settling, .moving, .redirecting: break
            }
        }
        for (mobileNode, arrival) in transfers.arrivals where arrival.gateway == gateway {
            switch arrival.stage {
            case .requested, .collecting: drop(mobileNode, because: "the link to \(gateway): \(reason)", now: now)
            case .held: doubt(mobileNode, now: now)
            case .inDoubt: break
            }
        }
    }

    // MARK: - Time and ownership

    mutating func workOnTransfers(now: Now) {
        guard !transfers.isEmpty else { return }
        guard isOwner else { return }
        for mobileNode in transfers.departures.keys.sorted() { workOnDeparture(mobileNode, now: now) }
        for mobileNode in transfers.arrivals.keys.sorted() { workOnArrival(mobileNode, now: now) }
        for session in transfers.activations.keys.sorted() { workOnActivation(session, now: now) }
    }

    /// The other node of the pair goes on: it has the sessions as they stand, held still or silent, and ends or resolves them.
    mutating func leaveTransfers() {
        for departure in transfers.departures.values {
            answer(departure, .failed, "the other node owns the sessions now", now: nil)
        }
        for arrival in transfers.arrivals.values { answer(arrival, .failed, "the other node owns the sessions now", now: nil) }
        for session in transfers.activations.keys.sorted() {
            end(activation: session, .failed, "the other node owns the sessions now", now: nil)
        }
        transfers = TransferWork()
    }

    /// What the IKE engine says of sessions that are going.
    mutating func noteTransfer(_ event: IKEEvent, now: Now) {
        switch event {
        case .redirectAnswered(let session, let accepted):
            if let found = transfers.departure(of: session) { redirectAnswered(found.mobileNode, accepted: accepted, now: now) }
        case .contextTransferMessage(let session, let message): contextTransferMessage(message, of: session, now: now)
        case .relocated(let session, _, let remote): relocated(session, to: remote.address, now: now)
        default: break
        }
    }
}
