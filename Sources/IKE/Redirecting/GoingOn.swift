import Cryptography
import IKEWire
import Session

/// The other end of `HandingOn`: we are the peer, and go on with the session at another gateway.
extension IKEEngine {
    /// REDIRECT with NO_REAUTH_IPSEC_CXT_TRANSMITTED: the gateway there has our context. Either all of it fits, and the session runs
    /// between us and the other gateway from now on; or the answer is TEMPORARY_FAILURE, and all stays as it was.
    mutating func goOnElsewhere(
        _ gateway: GatewayIdentity, request: PayloadSet, message: ReceivedMessage, connection: ConnectionConfiguration,
        answer: inout RequestAnswer, context: IKEContext
    ) {
        let session = message.session
        let from = session.remote.address
        do throws(RedirectRefusal) {
            let syn = try synchronization(request, message: message)
            let local = try localEndpoint(toward: gateway, in: session, connection: connection)
            let address = try follow(gateway, for: connection, from: from, context: context)
            var path = session.path
            path.local = local
            path.remote.address = address
            answer.changes += changes(of: session, goingOnAt: path, syn)
            answer.payloads += [.notify(.noReauthIPsecContextTransmitted), .notify(.ipsecSyn, reply(to: syn, in: session).encode())]
            answer.events += [
                .redirected(connection: connection.name, from: from, to: gateway),
                .relocated(session: session.id, local: path.local, remote: path.remote),
            ]
            mappings[session.id] = nil
            greet(session, at: context.now.instant)
        } catch {
            answer.payloads.append(.notify(.temporaryFailure))
            answer.events.append(.redirectIgnored(connection: connection.name, from: from, to: gateway, reason: error))
        }
    }

    /// The new gateway hears of us at once: a NAT on the way there lets its packets in only then. With MOBIKE the move says it.
    private mutating func greet(_ session: Session, at now: Instant) {
        guard !session.capabilities.contains(.mobike), waiting[session.id]?.contains(.liveness) != true else { return }
        waiting[session.id, default: []].append(.liveness)
        releaseWaiting(session.id, at: now)
    }

    private func localEndpoint(
        toward gateway: GatewayIdentity, in session: Session, connection: ConnectionConfiguration
    ) throws(RedirectRefusal) -> Endpoint {
        guard case .address(let address) = gateway else { throw .name }
        if address.family == session.local.address.family { return session.local }
        guard let local = localAddress(for: address, connection: connection) else { throw .noLocalAddress }
        return Endpoint(local, session.local.port)
    }

    // MARK: What the other gateway goes on with

    /// IPSEC_SYN, if it goes on exactly where this request leaves off. Nothing goes backwards, and nothing is left out. A request of ours
    /// that is answered and whose answer got lost is repeated to the other gateway, which has the answer.
    private func synchronization(_ request: PayloadSet, message: ReceivedMessage) throws(RedirectRefusal) -> IPsecSyn {
        let session = message.session
        let sa = message.sa
        // A session that is on its way elsewhere already cannot go to a third place at once.
        guard session.redirectedTo == nil, session.movingTo == nil, session.otherIKESAs.isEmpty, !session.isClosing else { throw .busy }
        guard let notify = request.only(.ipsecSyn), request.only(.redirect) != nil, let syn = try? IPsecSyn(parsing: notify.data) else {
            throw .badSynchronization
        }
        let id = message.header.messageID
        guard id == sa.nextReceiveID, id < .max - 1, syn.nextSendID == id + 1,
            (sa.oldestUnanswered...sa.nextSendID).contains(syn.nextReceiveID)
        else {
            throw .badSynchronization
        }
        let told = Dictionary(syn.starts.map { ($0.spi, $0.number) }) { first, _ in first }
        guard session.children.allSatisfy({ $0.isRekeyed || told[$0.inboundSPI] != nil }) else {
            throw .badSynchronization
        }
        for (spi, number) in told {
            guard let child = session.child(inboundSPI: spi), number > child.inboundTop,
                child.algorithms.extendedSequenceNumbers || number <= 0xFFFF_FFFF
            else { throw .badSynchronization }
        }
        guard session.children.allSatisfy({ $0.isRekeyed || next($0).isUsable(extended: $0.algorithms.extendedSequenceNumbers) }) else {
            throw .exhausted
        }
        return syn
    }

    /// Our own numbers jump as well: what we sent to the old gateway is refused by the new one as a replay.
    private func next(_ child: ChildSA) -> Lease { child.lease.next(for: node.peer).next(for: node) }

    private func reply(to syn: IPsecSyn, in session: Session) -> IPsecSyn {
        IPsecSyn(
            nonce: syn.nonce, nextSendID: syn.nextReceiveID, nextReceiveID: syn.nextSendID,
            starts: session.children.filter { !$0.isRekeyed }.map {
                let numbers = next($0).numbers(extended: $0.algorithms.extendedSequenceNumbers)
                return IPsecSyn.Start(spi: $0.outboundSPI, number: numbers.next)
            })
    }

    private func changes(of session: Session, goingOnAt path: SessionPath, _ syn: IPsecSyn) -> [SessionChange] {
        var changes: [SessionChange] = []
        for child in session.children where !child.isRekeyed {
            changes.append(.leased(inboundSPI: child.inboundSPI, lease: next(child)))
            // The window slides by itself with the first packet; raised before, it would refuse what is still under way. Only where the
            // high half of a number would be guessed wrongly (RFC 4303 §A2.2) it has to be.
            let number = syn.starts.first { $0.spi == child.inboundSPI }?.number ?? 0
            if number > child.inboundTop, number - child.inboundTop >= 1 << 31 {
                changes.append(.inboundAdvanced(inboundSPI: child.inboundSPI, top: number - 1))
            }
        }
        changes.append(.pathChanged(path))
        if session.capabilities.contains(.mobike) { changes.append(.movingSet(path)) }
        return changes
    }
}

extension IKESA {
    /// The ID of our oldest request without an answer, or of the next one.
    fileprivate var oldestUnanswered: UInt32 { pendingRequests.first?.messageID ?? nextSendID }
}

extension Lease {
    fileprivate func isUsable(extended: Bool) -> Bool {
        let numbers = numbers(extended: extended)
        return numbers.next <= numbers.limit
    }
}

extension PayloadSet {
    /// The notify of this type, if there is exactly one.
    fileprivate func only(_ type: NotifyType) -> NotifyPayload? {
        let all = notifies.filter { $0.type == type }
        return all.count == 1 ? all[0] : nil
    }
}
