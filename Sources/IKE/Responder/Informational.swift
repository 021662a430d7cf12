import IKEWire
import Session

/// INFORMATIONAL requests (RFC 7296 §1.4): liveness, DELETE, notifies that end the IKE SA, addresses (RFC 4555), and
/// messages of context transfer (RFC 4067).
extension IKEEngine {
    mutating func answerInformational(_ request: PayloadSet, message: ReceivedMessage) -> RequestAnswer {
        let session = message.session
        // RFC 7296 §2.21.2: an initiator that could not authenticate us says so here, and the IKE SA is gone.
        if let fatal = request.notifies.first(where: { $0.type == .authenticationFailed || $0.type == .invalidSyntax }) {
            return RequestAnswer(
                events: [.deletedByPeer(session: session.id)], endsSession: "the peer reported \(fatal.type)", endsIKESA: true)
        }
        if request.deletes.contains(where: { $0.protocolID == .ike }) { return deleteIKESA(message) }
        var answer = deleteChildren(request, session: session)
        takeAddresses(request, message: message, answer: &answer)
        takeContextTransferMessage(request, session: session, answer: &answer)
        return answer
    }

    private func deleteIKESA(_ message: ReceivedMessage) -> RequestAnswer {
        // RFC 7296 §2.8.2: the peer did not notice that we were rekeying it too; its successor is the one.
        let rivals = message.sa.pendingRequests.filter { $0.purpose.isIKERekey }.compactMap { $0.collision?.localSPI }
        if message.isInCurrentSA, let successor = rivals.first(where: { message.session.ikeSA(localSPI: $0) != nil }) {
            return RequestAnswer(
                changes: [.ikeSAAdopted(localSPI: successor), .ikeSARemoved(localSPI: message.sa.localSPI)],
                events: [.ikeRekeyed(session: message.session.id)], endsIKESA: true)
        }
        return RequestAnswer(
            events: [.deletedByPeer(session: message.session.id)], endsSession: "deleted by the peer", endsIKESA: true)
    }

    /// The answer to a DELETE names the other halves, except of what we are deleting ourselves (RFC 7296 §1.4.1).
    private func deleteChildren(_ request: PayloadSet, session: Session) -> RequestAnswer {
        let peerSPIs = Set(request.deletes.filter { $0.protocolID == .esp }.flatMap(\.spis).compactMap { UInt32(networkBytes: $0) })
        let deleted = session.children.filter { peerSPIs.contains($0.outboundSPI) }
        let pending = session.ikeSAs.flatMap(\.pendingRequests).map(\.purpose)
        let told = deleted.filter { !pending.contains(.deleteChildSA($0.inboundSPI)) }
        var answer = RequestAnswer()
        if !told.isEmpty {
            answer.payloads = [.delete(DeletePayload(protocolID: .esp, spis: told.map(\.inboundSPI.networkBytes)))]
        }
        answer.changes = deleted.map { .childRemoved(inboundSPI: $0.inboundSPI) }
        answer.events = deleted.map { .childDeleted(session: session.id, inboundSPI: $0.inboundSPI) }
        return answer
    }
}
