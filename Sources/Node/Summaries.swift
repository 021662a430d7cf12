import Control
import Cryptography
import IKE
import Pair
import Session

/// What operators are shown; never a key.
extension Node {
    var ownerName: String { isOwner ? configuration.name : configuration.pair?.peerName ?? "" }

    var versionSummary: VersionSummary {
        VersionSummary(daemon: "tandemd", version: configuration.version, systemName: "Linux", release: "", machine: "")
    }

    func statsSummary(_ now: Now) -> StatsSummary {
        StatsSummary(
            uptimeMilliseconds: now.wallMilliseconds - startedWallMilliseconds, startedMilliseconds: startedWallMilliseconds,
            ikeSAs: table.count, halfOpen: ike.halfOpenCount, scheduled: 0, counters: namedCounters)
    }

    var namedCounters: [String: UInt64] {
        let drops = IKEDropReason.allCases.map { ("ike_dropped_" + snakeCase($0.rawValue), ike.counters.dropped($0)) }
        let named = ike.counters.named.map { ("ike_" + $0.0, $0.1) }
        return Dictionary(uniqueKeysWithValues: counters.named + flows.named + named + drops)
    }

    func statusSummary(_ now: Now) -> StatusSummary {
        var status = StatusSummary()
        status.version = configuration.version
        status.node = configuration.name
        status.nodeID = configuration.id.rawValue
        status.role = roles.role.name
        status.roleSinceMilliseconds = wall(of: roles.since, now)
        status.epoch = roles.epoch
        status.startedMilliseconds = startedWallMilliseconds
        status.halfOpen = ike.halfOpenCount
        status.dataPlane = dataPlaneKind
        status.dataPlaneReason = dataPlaneReason
        status.gate = gate.name
        status.addresses = configuration.addresses.map {
            AddressSummary(address: "\($0.prefix)", interface: $0.interface, isHeld: isOwner)
        }
        status.roaming = roamingSummary
        status.overload = overloadText
        if let watch = overload.watch { status.overloadSinceMilliseconds = wall(of: watch.since, now) }
        status.counters = namedCounters
        fillPair(of: &status, now: now)
        fillHolding(of: &status)
        fillCertificates(of: &status, now: now)
        status.keepsState = state.isOpen
        status.stateError = state.error ?? ""
        status.stateUnwritten = state.unwrittenCount
        status.stateRestored = state.restoredCount
        status.lastTakeover = takeoverSummary
        status.condition = conditionSummary(now)
        return status
    }

    private var roamingSummary: RoamingSummary? {
        let addresses = configuration.nodeAddresses
        guard !addresses.isEmpty else { return nil }
        var summary = RoamingSummary()
        (summary.own, summary.peer) = (addresses.own.map { "\($0)" }, addresses.peer.map { "\($0)" })
        (summary.movable, summary.behindNAT, summary.unable) = (roads.total(.movable), roads.total(.behindNAT), roads.total(.unable))
        guard isOwner else { return summary }
        summary.moving = roads.there(.movable) + roads.there(.behindNAT)
        summary.waiting = roads.there(.unable)
        for id in table.withPendingRequest {
            guard let session = table[id], session.ikeSA.pendingRequests.contains(where: { $0.purpose == .announce }) else { continue }
            if session.mobility == .behindNAT { summary.waiting += 1 } else { summary.unanswered += 1 }
        }
        return summary
    }

    private func fillPair(of status: inout StatusSummary, now: Now) {
        status.isLinkUp = link.isUp && link.peer != nil
        guard let pair = configuration.pair else {
            status.pairState = sender.pairState.name
            status.pairReason = SoloReason.noPair.rawValue
            status.pairSinceMilliseconds = startedWallMilliseconds
            return
        }
        status.peer = pair.peerName
        if isOwner {
            status.pairState = sender.pairState.name
            status.pairReason = sender.pairState.reason ?? ""
            status.pairSinceMilliseconds = wall(of: sender.since, now)
            status.lagDeltas = sender.lag
            if merge.taking?.hasBegun == true { status.pairState = MergeWork.stateName }
        } else {
            status.pairState = receiver.isInStep ? "paired" : (link.isUp ? "syncing" : "solo")
            status.pairReason = receiver.isInStep || link.isUp ? "" : SoloReason.noLink.rawValue
            status.pairSinceMilliseconds = wall(of: roles.since, now)
            if link.isUp, merge.owed?.giving?.isSaid == false { status.pairState = MergeWork.stateName }
        }
        status.heartbeatPaths = pathSummaries(pair, now)
        status.arbitration = arbitrationSummary(now)
    }

    private func fillHolding(of status: inout StatusSummary) {
        if isOwner {
            status.sessionsOwned = table.count
            status.childrenOwned = table.childCount
        } else {
            status.sessionsHeld = table.count
            status.childrenHeld = table.childCount
        }
    }

    private var takeoverSummary: TakeoverSummary? {
        guard let cause = takeover.cause, let begin = takeover.steps.first?.at else { return nil }
        var previous = begin
        let steps = takeover.steps.dropFirst().map { step, at in
            defer { previous = at }
            return StepSummary(name: step.name, microseconds: (at - previous).inNanoseconds / 1000)
        }
        return TakeoverSummary(
            cause: takeover.reason.isEmpty ? cause.name : takeover.reason, epoch: takeover.epoch, atMilliseconds: takeover.wallMilliseconds,
            totalMicroseconds: (previous - begin).inNanoseconds / 1000, steps: steps)
    }

    func wall(of instant: Instant, _ now: Now) -> Int64 { now.wallMilliseconds - Int64((now.instant - instant).inMilliseconds) }

    // MARK: - Sessions

    func summary(of session: Session, now: Now) -> SASummary {
        let sa = session.ikeSA
        var out = SASummary()
        out.name = session.authorization.connection
        out.uniqueID = session.uniqueID
        out.state = isOwner ? (session.isClosing ? "DELETING" : session.isArriving ? "ARRIVING" : "ESTABLISHED") : "PASSIVE"
        (out.localHost, out.localPort) = ("\(session.local.address)", session.local.port)
        (out.remoteHost, out.remotePort) = ("\(session.remote.address)", session.remote.port)
        out.localID = "\(session.authorization.localIdentity)"
        out.remoteID = "\(session.authorization.remoteIdentity)"
        out.isInitiator = sa.role == .initiator
        (out.initiatorSPI, out.responderSPI) = (sa.spis.initiator, sa.spis.responder)
        (out.natLocal, out.natRemote) = (session.localBehindNAT, session.remoteBehindNAT)
        out.encryption = AlgorithmName.encryption(sa.algorithms.cipher.kind.rawValue)
        out.encryptionKeyBits = sa.algorithms.cipher.keyBits
        out.integrity = sa.algorithms.integrity.map { AlgorithmName.integrity($0.rawValue) }
        out.prf = AlgorithmName.prf(sa.algorithms.prf.rawValue)
        out.keyExchange = AlgorithmName.keyExchange(sa.algorithms.keyExchangeGroup.rawValue)
        out.establishedMilliseconds = max(0, now.wallMilliseconds - sa.establishedWallMilliseconds)
        out.remoteVirtualAddresses = session.virtualAddresses.map { "\($0.address)" }
        out.activeTasks = sa.pendingRequests.map(\.purpose.taskName)
        out.children = session.children.map { summary(of: $0, in: session, now: now) }
        out.sessionID = session.id.rawValue
        out.owner = ownerName
        out.isOwned = isOwner
        out.epoch = roles.epoch
        (out.nextSendID, out.nextReceiveID) = (sa.nextSendID, sa.nextReceiveID)
        out.pendingRequestID = sa.pendingRequests.first?.messageID
        out.rekeyedSPI = session.otherIKESAs.first.map { String($0.localSPI, radix: 16) }
        out.capabilities = session.capabilities.names
        return out
    }

    private func summary(of child: ChildSA, in session: Session, now: Now) -> ChildSummary {
        let counters = traffic[child.inboundSPI]
        var out = ChildSummary()
        out.name = child.name
        out.uniqueID = child.uniqueID
        out.reqid = child.uniqueID
        out.state = child.isRekeyed ? "REKEYED" : "INSTALLED"
        out.mode = child.mode == .tunnel ? "TUNNEL" : "TRANSPORT"
        out.isEncapsulated = session.encapsulation
        (out.inboundSPI, out.outboundSPI) = (child.inboundSPI, child.outboundSPI)
        out.encryption = AlgorithmName.encryption(child.algorithms.cipher.kind.rawValue)
        out.encryptionKeyBits = child.algorithms.cipher.keyBits
        out.integrity = child.algorithms.integrity.map { AlgorithmName.integrity($0.rawValue) }
        out.keyExchange = child.algorithms.keyExchangeGroup.map { AlgorithmName.keyExchange($0.rawValue) }
        out.hasExtendedSequenceNumbers = child.algorithms.extendedSequenceNumbers
        (out.inboundBytes, out.inboundPackets) = (counters?.inboundBytes ?? 0, counters?.inboundPackets ?? 0)
        (out.outboundBytes, out.outboundPackets) = (counters?.outboundBytes ?? 0, counters?.outboundPackets ?? 0)
        out.installedMilliseconds = max(0, now.wallMilliseconds - child.establishedWallMilliseconds)
        out.localSelectors = child.localSelectors.map { "\($0)" }
        out.remoteSelectors = child.remoteSelectors.map { "\($0)" }
        out.inboundTop = max(child.inboundTop, counters?.inboundTop ?? 0)
        out.outboundNext = counters?.outboundNext
        out.leaseLimit = plan.numbers(of: child, in: session).limit
        out.leaseSlice = child.lease.slice
        return out
    }

    // MARK: - Configuration

    func connectionSummaries(named name: String?) -> [ConnectionSummary] {
        configuration.ike.connections.filter { name == nil || $0.name == name }.map { connection in
            ConnectionSummary(
                name: connection.name, localAddresses: connection.localAddresses.texts, remoteAddresses: connection.remoteAddresses.texts,
                rekeySeconds: 0, dpdSeconds: connection.livenessDelay?.components.seconds ?? 0,
                local: AuthenticationSummary(
                    method: connection.localAuthentication.name, identity: connection.localIdentity.map { "\($0)" }),
                remote: AuthenticationSummary(
                    method: connection.remoteAuthentication.name, identity: connection.remoteIdentity.map { "\($0)" }),
                children: connection.children.map { child in
                    ChildConfigurationSummary(
                        name: child.name, mode: child.mode == .tunnel ? "TUNNEL" : "TRANSPORT", rekeySeconds: 0,
                        localSelectors: child.localSelectors.map(\.text), remoteSelectors: child.remoteSelectors.map(\.text))
                })
        }
    }
}

private func snakeCase(_ camel: String) -> String {
    camel.reduce(into: "") { $0 += $1.isUppercase ? "_" + $1.lowercased() : String($1) }
}

extension [IPPrefix] {
    /// As swanctl prints them; nothing configured means any.
    fileprivate var texts: [String] { isEmpty ? ["%any"] : map { $0.length == $0.address.bitWidth ? "\($0.address)" : "\($0)" } }
}

extension LocalAuthentication {
    /// strongSwan's words.
    fileprivate var name: String {
        switch self {
        case .preSharedKey: "pre-shared key"
        case .publicKey: "public key"
        }
    }
}

extension RemoteAuthentication {
    fileprivate var name: String {
        switch self {
        case .preSharedKey: "pre-shared key"
        case .publicKey: "public key"
        }
    }
}

extension SelectorConfiguration {
    fileprivate var text: String {
        switch self {
        case .dynamic: "dynamic"
        case .selector(let selector): "\(selector)"
        }
    }
}

extension PeerCapabilities {
    fileprivate var names: [String] {
        let known: [(PeerCapabilities, String)] = [
            (.mobike, "mobike"), (.messageIDSync, "message-id-sync"), (.redirect, "redirect"), (.fragmentation, "fragmentation"),
            (.contextTransfer, "context-transfer"), (.replayCounterSync, "replay-counter-sync"),
        ]
        return known.filter { contains($0.0) }.map(\.1)
    }
}

extension PendingRequest.Purpose {
    fileprivate var taskName: String {
        switch self {
        case .liveness: "IKE_DPD"
        case .deleteIKESA: "IKE_DELETE"
        case .deleteChildSA: "CHILD_DELETE"
        case .createChildSA(let offer): offer.replacing == nil ? "CHILD_CREATE" : "CHILD_REKEY"
        case .rekeyIKESA: "IKE_REKEY"
        case .updateAddresses, .verifyAddress: "IKE_MOBIKE"
        case .announce, .syncReplayCounters: "IKE_INFO"
        case .redirect: "IKE_REDIRECT"
        }
    }
}

extension GateState {
    fileprivate var name: String {
        switch self {
        case .closed: "closed"
        case .inboundOnly: "inbound-only"
        case .open: "open"
        }
    }
}

extension IKECounters {
    fileprivate var named: [(String, UInt64)] {
        [
            ("datagrams_received", datagramsReceived), ("datagrams_sent", datagramsSent), ("half_open_created", halfOpenCreated),
            ("half_open_expired", halfOpenExpired), ("cookies_required", cookiesRequired), ("invalid_key_exchanges", invalidKeyExchanges),
            ("no_proposal_chosen", noProposalChosen), ("authenticated", authenticated), ("authentication_failures", authenticationFailures),
            ("responses_repeated", responsesRepeated), ("answers_repeated", answersRepeated), ("requests_answered", requestsAnswered),
            ("requests_sent", requestsSent),
            ("requests_retransmitted", requestsRetransmitted), ("children_created", childrenCreated), ("children_rekeyed", childrenRekeyed),
            ("children_refused", childrenRefused), ("pools_exhausted", poolsExhausted), ("requests_refused", requestsRefused),
            ("ike_sas_rekeyed", ikeSAsRekeyed),
            ("deleted_by_peer", deletedByPeer),
            ("peers_dead", peersDead), ("sessions_replaced", sessionsReplaced), ("peers_moved", peersMoved),
            ("peers_unreachable", peersUnreachable), ("keepalives_sent", keepAlivesSent), ("keepalives_received", keepAlivesReceived),
            ("initiations_started", initiationsStarted), ("initiations_failed", initiationsFailed),
            ("redirects_followed", redirectsFollowed), ("redirects_ignored", redirectsIgnored),
            ("syncs_requested", syncsRequested), ("syncs_completed", syncsCompleted), ("syncs_failed", syncsFailed),
            ("syncs_answered", syncsAnswered), ("replay_counters_raised", replayCountersRaised), ("requests_given_up", requestsGivenUp),
            ("new_peers_redirected", newPeersRedirected), ("sessions_redirected", sessionsRedirected),
            ("sessions_handed_on", sessionsHandedOn),
        ]
    }
}
