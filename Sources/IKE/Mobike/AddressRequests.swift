import IKEWire
import Session

/// INFORMATIONAL requests of the peer that say something of addresses (RFC 4555 §3.5 to §3.9).
extension IKEEngine {
    mutating func takeAddresses(_ request: PayloadSet, message: ReceivedMessage, answer: inout RequestAnswer) {
        takeNotifies(request, message: message, answer: &answer)
        // RFC 4555 §3.7: also beside an error.
        if let cookie = request.returnCookie { answer.payloads.append(.notify(.cookie2, cookie)) }
    }

    private mutating func takeNotifies(_ request: PayloadSet, message: ReceivedMessage, answer: inout RequestAnswer) {
        let session = message.session
        guard session.capabilities.contains(.mobike) else { return }
        let addresses = request.additionalAddresses
        // Only who began the first IKE SA decides on addresses (RFC 4555 §3.5).
        let isUpdate = request.has(.updateSAAddresses) && session.originalRole == .responder
        if isUpdate || addresses != nil {
            guard !request.isTranslated(message.datagram) else { return answer.payloads.append(.notify(.unexpectedNATDetected)) }
            if isUpdate, !isAcceptable(message) { return answer.payloads.append(.notify(.unacceptableAddresses)) }
            if isNewest(message) {
                if let addresses { note(addresses, message: message, answer: &answer) }
                if isUpdate { move(request, message: message, answer: &answer) }
            }
        }
        if request.hasNATDetection {
            answer.payloads += NATDetection.payloads(
                spis: message.sa.spis, local: message.datagram.local, remote: message.datagram.remote,
                forced: connection(of: session)?.forceEncapsulation ?? false)
        }
    }

    /// What transport mode protects is the traffic between the two addresses themselves: RFC 4555 §1.2 is about tunnels.
    private func isAcceptable(_ message: ReceivedMessage) -> Bool {
        guard !message.session.children.contains(where: { $0.mode == .transport }) else { return false }
        return connection(of: message.session)?
            .allows(local: message.datagram.local.address, remote: message.datagram.remote.address) ?? true
    }

    /// An older request may come after a newer one, and is answered without effect (RFC 4555 §3.5): with a window above 1, or in an
    /// IKE SA that was replaced while the request was under way. What is remembered for it is local to one node: at worst a takeover
    /// between the two lets the peer move once more.
    private mutating func isNewest(_ message: ReceivedMessage) -> Bool {
        let (session, id) = (message.session, message.header.messageID)
        if let last = addressRequests[session.id], let sa = session.ikeSA(localSPI: last.localSPI) {
            let (before, now) = (session.generation(of: sa), session.generation(of: message.sa))
            if before > now || before == now && last.messageID > id { return false }
        }
        addressRequests[session.id] = (message.sa.localSPI, id)
        return true
    }

    /// RFC 4555 §3.6. The responder that says it from another address has lost the one that we know: we follow it there, as initiators
    /// that are in use do, and tell it so.
    private mutating func note(_ addresses: [IPAddress], message: ReceivedMessage, answer: inout RequestAnswer) {
        let session = message.session
        if addresses != session.peerAddresses { answer.changes.append(.peerAddressesSet(addresses)) }
        let datagram = message.datagram
        guard session.originalRole == .initiator, datagram.remote.address != session.ikePath.remote.address else { return }
        answer.changes += changes(of: session, movingTo: datagram.local, datagram.remote)
    }

    /// UPDATE_SA_ADDRESSES: where the peer is now, and what is between us.
    private mutating func move(_ request: PayloadSet, message: ReceivedMessage, answer: inout RequestAnswer) {
        let session = message.session
        let (local, remote) = (message.datagram.local, message.datagram.remote)
        let nat = NATDetection(request, spis: message.sa.spis, local: local, remote: remote)
        let path = path(of: session, local: local, remote: remote, nat: nat)
        answer.changes += superseded(by: path, in: session)
        let isElsewhere = local.address != session.local.address || remote.address != session.remote.address
        switch connection(of: session)?.addressCheck ?? .before {
        case .before where isElsewhere: answer.changes.append(.movingSet(path))
        case .after where isElsewhere: answer.changes += [.pathChanged(path), .movingSet(path)]
        case .before, .after, .never:
            if path != session.path { answer.changes.append(.pathChanged(path)) }
            if session.movingTo != nil { answer.changes.append(.movingSet(nil)) }
        }
        guard answer.changes.contains(.pathChanged(path)), remote != session.remote else { return }
        counters.peersMoved += 1
        answer.events.append(.moved(session: session.id, from: session.remote, to: remote))
    }

    /// The path between two endpoints, with what is known of NATs; without NAT detection all stays as it was (RFC 4555 §3.5).
    func path(of session: Session, local: Endpoint, remote: Endpoint, nat: NATDetection) -> SessionPath {
        var path = session.path
        path.local = local
        path.remote = remote
        guard nat.isSupported else { return path }
        path.localBehindNAT = nat.localBehindNAT
        path.remoteBehindNAT = nat.remoteBehindNAT
        path.encapsulation = nat.localBehindNAT || nat.remoteBehindNAT || connection(of: session)?.forceEncapsulation == true
        return path
    }

    /// What is under way for another path means nothing any more: it will have been sent to this one as well, and its answer does not
    /// tell which of them works (RFC 4555 §3.5, §3.7). It is repeated as it is; only its purpose changes.
    func superseded(by path: SessionPath, in session: Session) -> [SessionChange] {
        session.ikeSAs.flatMap { sa in
            sa.pendingRequests.flatMap { pending -> [SessionChange] in
                var pending = pending
                switch pending.purpose {
                case .updateAddresses: pending.purpose = .announce
                // The cookie has still to be right.
                case .verifyAddress(let check) where check.path != path:
                    pending.purpose = .verifyAddress(AddressCheck(cookie: check.cookie, path: nil))
                default: return []
                }
                return [
                    .requestCompleted(localSPI: sa.localSPI, messageID: pending.messageID),
                    .requested(localSPI: sa.localSPI, request: pending),
                ]
            }
        }
    }
}

extension Session {
    /// The order in which its IKE SAs came to be: those that were replaced, the current one, and what the peer's own rekey made while
    /// ours is under way.
    fileprivate func generation(of sa: IKESA) -> Int {
        if sa.localSPI == ikeSA.localSPI { return otherIKESAs.count }
        if ikeSA.pendingRequests.contains(where: { $0.collision?.localSPI == sa.localSPI }) { return otherIKESAs.count + 1 }
        return otherIKESAs.firstIndex { $0.localSPI == sa.localSPI } ?? 0
    }
}
