import Context
import Control
import Cryptography
import IKE
import Pair
import Session

/// Transfers that a mobile node asks for (RFC 4067 §2.1, mobile controlled): CTAR and CTAA inside the IKE SA. The gateway that is asked
/// does what `tandem transfer --to` does there; that it began is seen by the REDIRECT, and CTAA says when nothing comes of it.
extension Node {
    // MARK: - The mobile node

    /// Asks the gateway of a session that we began to move it.
    mutating func activate(_ session: Session, at target: IPAddress, token: RequestToken, now: Now) throws(TransferRefusal) {
        guard session.originalRole == .initiator else {
            throw .because("there is no [[gateway]] \(target) in the configuration, and only who called can ask its peer", .unknownNode)
        }
        guard session.remote.address != target else { throw .because("the session is at that gateway already", .alreadyOwned) }
        guard transfers.activations[session.id] == nil, transfers.activations.count < TransferWork.countMax else {
            throw .because("another transfer of the session is under way", .busy)
        }
        let sequenceNumber = random.uint32()
        let mobileNode = session.virtualAddresses.first?.address ?? session.local.address
        let key = tokenKey(of: session.ikeSA, sequenceNumber: sequenceNumber)
        guard
            let word = try? TokenAlgorithm.hmacSHA256.token(key: key, mobileNode: mobileNode, sequenceNumber: sequenceNumber, blocks: []),
            let message = try? CXTPMessage.activateRequest(
                ActivateRequest(
                    wantsAcknowledgement: true, mobileNode: mobileNode, otherGateway: target, sequenceNumber: sequenceNumber, token: word)
            ).encode()
        else { throw .because("\(target) and \(mobileNode) are of different families", .notMoved) }
        guard let outcome = ike.sendContextTransferMessage(message, session: session.id, table: table, context: context(now)) else {
            throw .because("the session's gateway knows nothing of context transfer", .unknownProfile)
        }
        transfers.activations[session.id] = Activation(
            token: token, target: target, began: now.instant, deadline: now.instant + TransferWork.activationTime)
        commit(outcome, now: now)
    }

    mutating func relocated(_ session: SessionID, to address: IPAddress, now: Now) {
        guard transfers.activations[session]?.target == address else { return }
        end(activation: session, .done, "", now: now)
    }

    mutating func workOnActivation(_ session: SessionID, now: Now) {
        guard let activation = transfers.activations[session], now.instant >= activation.deadline else { return }
        end(activation: session, .failed, table[session] == nil ? "the session ended" : "its gateway has not moved it", now: now)
    }

    /// - Parameter now: `nil` when it is not known how long it took.
    mutating func end(activation session: SessionID, _ outcome: TransferSummary.Outcome, _ reason: String, now: Now?) {
        guard let activation = transfers.activations.removeValue(forKey: session) else { return }
        var summary = TransferSummary(outcome: outcome, reason: reason, sessionID: session.rawValue, gateway: "\(activation.target)")
        if let now { summary.totalMicroseconds = (now.instant - activation.began).inNanoseconds / 1000 }
        respond(activation.token, .transfer(summary))
    }

    // MARK: - Both ends

    mutating func contextTransferMessage(_ bytes: [UInt8], of session: SessionID, now: Now) {
        counters.transferMessagesReceived += 1
        guard let session = table[session], let message = try? CXTPMessage(parsing: bytes) else {
            counters.transferMessagesMalformed += 1
            return log(.warning, "dropped a message about a context transfer that cannot be read", [.init("session", "\(session)")])
        }
        switch (message, session.originalRole) {
        case (.activateRequest(let request), .responder): activationRequested(request, by: session, now: now)
        case (.activateAcknowledge(let answer), .initiator):
            let status = answer.failures.first { $0.status != .success }?.status
            if let status { end(activation: session.id, .failed, "its gateway refused: \(status.text)", now: now) }
        default: unexpected(message, from: "session \(session.id)")
        }
    }

    // MARK: - The gateway

    /// RFC 4067 §6.3: the token is validated before anything is transferred.
    private mutating func activationRequested(_ request: ActivateRequest, by session: Session, now: Now) {
        do throws(TransferRefusal) {
            guard transfers.requestsOfClients.take(at: now.instant) else { throw .because("too many ask", .busy) }
            let key = tokenKey(of: session.ikeSA, sequenceNumber: request.sequenceNumber)
            let isGenuine = TokenAlgorithm.hmacSHA256.verify(
                request.token, key: key, mobileNode: request.mobileNode, sequenceNumber: request.sequenceNumber, blocks: request.blocks)
            guard isGenuine else { throw .because("its token is wrong", .unauthorized) }
            guard let gateway = configuration.gateways.first(where: { $0.redirectTo == .address(request.otherGateway) }) else {
                throw .because("no [[gateway]] of the configuration has \(request.otherGateway)", .unauthorized)
            }
            guard isOwner, handover == nil else { throw .because("this node is \(roles.role.name)", .notActive) }
            log(.notice, "session \(session.id) asks to go to \(gateway.name)")
            try depart(session, to: gateway, transfer: request.sequenceNumber, token: nil, isAskedByClient: true, now: now)
        } catch {
            counters.transfersRefused += 1
            log(
                .warning, "a client's wish to go to another gateway was refused",
                [.init("session", "\(session.id)"), .init("reason", error.text)])
            if request.wantsAcknowledgement { tell(session.id, error.status, now: now) }
        }
    }

    /// CTAA: what became of a CTAR, when it came to nothing.
    mutating func tell(_ session: SessionID, _ status: TransferStatus, now: Now) {
        guard let mobileNode = table[session]?.mobileNode,
            let message = try? CXTPMessage.activateAcknowledge(
                ActivateAcknowledge(mobileNode: mobileNode, failures: [ProfileStatus(.ipsecContext, status)])
            ).encode(),
            let outcome = ike.sendContextTransferMessage(message, session: session, table: table, context: context(now))
        else { return }
        commit(outcome, now: now)
    }
}
