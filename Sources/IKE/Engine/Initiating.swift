import Cryptography
import IKEWire
public import Session

/// A peer that we call (RFC 7296 §1.2), until it has answered IKE_AUTH. Local to one node, like a half-open IKE SA: when the node
/// dies or hands over, the call is lost and has to be made again.
struct Initiation {
    var machine: IKEInitiator
    let connection: ConnectionConfiguration
    /// Our SPI of the IKE SA, and with it the identifier of the session to be.
    let spi: UInt64
    let childSPI: UInt32
    /// What the call is to replace.
    let predecessor: SessionID?

    var session: SessionID { SessionID(rawValue: spi) }

    /// The call is about these two addresses; an answer from elsewhere is none.
    func isAbout(_ datagram: Datagram) -> Bool {
        datagram.remote.address == machine.remote.address && datagram.local.address == machine.local.address
    }
}

struct InitiationTable {
    /// Calls under way at once: each is an operator's command, and costs a key exchange. A script that starts every connection of
    /// a large hub waits a round trip after each 64.
    static let countMax = 64

    private var bySPI: [UInt64: Initiation] = [:]

    var count: Int { bySPI.count }
    var nextDeadline: Instant? { bySPI.values.compactMap { $0.machine.nextDeadline() }.min() }

    subscript(spi: UInt64) -> Initiation? {
        get { bySPI[spi] }
        set { bySPI[spi] = newValue }
    }

    func isInUse(childSPI: UInt32) -> Bool { bySPI.values.contains { $0.childSPI == childSPI } }
    func first(where predicate: (Initiation) -> Bool) -> Initiation? { due { predicate($0) }.first }
    func due(at now: Instant) -> [Initiation] { due { $0.machine.nextDeadline().map { $0 <= now } ?? true } }

    /// In order of SPI, so that a run can be repeated.
    private func due(_ predicate: (Initiation) -> Bool) -> [Initiation] {
        bySPI.isEmpty ? [] : bySPI.values.filter(predicate).sorted { $0.spi < $1.spi }
    }
}

/// We are the initiator: IKE_SA_INIT and IKE_AUTH. What comes of it is a session like every other one; from then on the engine
/// answers its peer, asks for its life and deletes it, and a rekey by the peer makes us responder.
extension IKEEngine {
    /// Calls a peer, for an IKE SA with a CHILD SA.
    ///
    /// How it went is told by an outcome of `receive` or `advance`: a delta that creates the session, or the event
    /// `initiationFailed`, each with the identifier that is returned here.
    ///
    /// - Parameters:
    ///   - local: an address of ours, port 500.
    ///   - remote: the peer's.
    ///   - trigger: the packet that wants the CHILD SA, if one does.
    ///   - predecessor: the session that the new one replaces; it is deleted when the new one has all its children.
    public mutating func initiate(
        connection: ConnectionConfiguration, child: ChildConfiguration, local: Endpoint, remote: Endpoint,
        trigger: PacketSelector? = nil, replacing predecessor: SessionID? = nil, table: SessionTable, context: IKEContext
    ) throws(InitiationRefusal) -> (session: SessionID, outcome: IKEOutcome) {
        guard initiations.count < InitiationTable.countMax else { throw .tooMany }
        guard table.count < SessionTable.sessionCountMax else { throw .tooManySessions }
        var offer = try offer(connection: connection, child: child, local: local, remote: remote)
        let spi = newIKESPI(table: table, context: context)
        let childSPI = newESPSPI(table: table, context: context)
        offer.ikeSPI = spi
        offer.childSPI = childSPI
        offer.announcesInitialContact = connection.unique != .never && isFirstContact(offer, table: table)
        if let trigger, offer.holds(trigger) { offer.trigger = trigger }
        offer.redirectedFrom = redirectedFrom(predecessor, to: remote, table: table)
        var machine = IKEInitiator(configuration: offer)
        let datagrams = machine.start(context: context)
        guard !datagrams.isEmpty else { throw .cryptography }
        let initiation = Initiation(machine: machine, connection: connection, spi: spi, childSPI: childSPI, predecessor: predecessor)
        initiations[spi] = initiation
        counters.initiationsStarted += 1
        counters.requestsSent += 1
        counters.datagramsSent += UInt64(datagrams.count)
        return (initiation.session, IKEOutcome(datagrams: datagrams))
    }

    /// The call for this child that is under way.
    public func initiation(connection: String, child: String) -> SessionID? {
        initiations.first { $0.connection.name == connection && $0.machine.configuration.childName == child }?.session
    }

    /// A call for this connection that is under way, whatever its child; none that replaces a session.
    public func initiation(connection: String) -> SessionID? {
        initiations.first { $0.connection.name == connection && $0.predecessor == nil }?.session
    }

    public func isInitiating(_ session: SessionID) -> Bool { initiations[session.rawValue] != nil }

    /// What the configuration says of a peer, as an initiator offers it.
    private func offer(
        connection: ConnectionConfiguration, child: ChildConfiguration, local: Endpoint, remote: Endpoint
    ) throws(InitiationRefusal) -> InitiatorConfiguration {
        let localIdentity = connection.ownIdentity(at: local.address)
        let remoteIdentity = connection.remoteIdentity
        let shared = configuration.secret(local: localIdentity, remote: remoteIdentity ?? Identity(address: remote.address))
        guard let secret = connection.usesSecret ? shared : .empty else { throw .noSecret }
        var localSelectors = child.localSelectors.resolved(dynamic: [local.address])
        var remoteSelectors = child.remoteSelectors.resolved(dynamic: [remote.address])
        // As in the responder: a selector without a counterpart of its family matches no packet.
        let families = Set(localSelectors.map(\.start.family)).intersection(remoteSelectors.map(\.start.family))
        localSelectors.removeAll { !families.contains($0.start.family) }
        remoteSelectors.removeAll { !families.contains($0.start.family) }
        guard !families.isEmpty else { throw .noSelectors }
        var offer = InitiatorConfiguration(
            local: local, remote: remote, localIdentity: localIdentity, remoteIdentity: remoteIdentity, secret: secret,
            proposals: Array(connection.proposals.prefix(IKEWireLimits.proposalsPerSAMax)),
            childProposals: Array(child.proposals.prefix(IKEWireLimits.proposalsPerSAMax)), localSelectors: localSelectors,
            remoteSelectors: remoteSelectors)
        offer.localAuthentication = connection.localAuthentication
        offer.remoteAuthentication = connection.remoteAuthentication
        offer.certificateSending = connection.certificateSending
        offer.sendsCertificateRequest = connection.sendsCertificateRequest
        // An IKE_AUTH with certificates does not fit into one datagram of every path.
        if connection.fragmentation == .yes { offer.announces.insert(.fragmentation) }
        offer.childName = child.name
        offer.forcesEncapsulation = connection.forceEncapsulation
        offer.limits = configuration.limits
        offer.childless = connection.childless
        if connection.followsRedirects { offer.announces.formUnion([.redirect, .contextTransfer]) }
        offer.alwaysFloats = connection.mobike
        if connection.mobike { offer.announces.insert(.mobike) }
        if connection.fragmentation == .yes { offer.announces.insert(.fragmentation) }
        offer.announces.formUnion([.messageIDSync, .replayCounterSync])
        offer.additionalAddresses = connection.additionalAddresses
        offer.limits = configuration.limits
        return offer
    }

    /// INITIAL_CONTACT says that what the peer may still have of us is dead (RFC 7296 §2.4): true if there is nothing between us.
    private func isFirstContact(_ offer: InitiatorConfiguration, table: SessionTable) -> Bool {
        guard let remote = offer.remoteIdentity else { return false }
        let others = initiations.first { $0.machine.configuration.remoteIdentity == remote }
        return others == nil && !table.sessions(remoteIdentity: remote).contains { $0.authorization.localIdentity == offer.localIdentity }
    }

    // MARK: Answers and time

    /// A response to an IKE SA that we began.
    mutating func receiveAnswer(
        _ datagram: Datagram, to initiation: Initiation, table: SessionTable, context: IKEContext
    ) -> IKEOutcome {
        guard initiation.isAbout(datagram) else { return drop(.unexpectedResponse, datagram) }
        var initiation = initiation
        let dropped = initiation.machine.counters.dropped
        let datagrams = initiation.machine.receive(datagram, context: context)
        guard initiation.machine.counters.dropped == dropped else { return drop(.unexpectedResponse, datagram) }
        counters.requestsSent += UInt64(datagrams.count)
        return settle(initiation, datagrams: datagrams, table: table, context: context)
    }

    /// Repeats what was not answered, and gives up.
    mutating func advanceInitiations(context: IKEContext) -> [IKEOutcome] {
        initiations.due(at: context.now.instant).map { initiation in
            var initiation = initiation
            let datagrams = initiation.machine.advance(context: context)
            counters.requestsRetransmitted += UInt64(datagrams.count)
            guard case .failed(let failure) = initiation.machine.phase else { return keep(initiation, datagrams: datagrams) }
            return fail(initiation, InitiationFailure(failure))
        }
    }

    private mutating func settle(
        _ initiation: Initiation, datagrams: [Datagram], table: SessionTable, context: IKEContext
    ) -> IKEOutcome {
        switch initiation.machine.phase {
        case .awaitingInitResponse, .awaitingAuthResponse: keep(initiation, datagrams: datagrams)
        case .established: establish(initiation, table: table, context: context)
        case .failed(.redirected(let gateway)): goOn(initiation, to: gateway, context: context)
        case .failed(.notAuthenticated): refuse(initiation, .notAuthenticated, context: context)
        case .failed(.rejected(let reason)): refuse(initiation, .rejected(reason), context: context)
        case .failed(let failure): fail(initiation, InitiationFailure(failure))
        case .idle, .closed: fail(initiation, .badResponse)
        }
    }

    private mutating func keep(_ initiation: Initiation, datagrams: [Datagram]) -> IKEOutcome {
        initiations[initiation.spi] = initiation
        counters.datagramsSent += UInt64(datagrams.count)
        return IKEOutcome(datagrams: datagrams)
    }

    private mutating func fail(_ initiation: Initiation, _ reason: InitiationFailure, last: Datagram? = nil) -> IKEOutcome {
        initiations[initiation.spi] = nil
        // A call that was led astray does not take the next ones with it.
        redirects.abandon(initiation.connection.name, target: initiation.machine.configuration.remote.address)
        let events = [failed(initiation, reason)]
        count(events)
        counters.datagramsSent += last == nil ? 0 : 1
        return IKEOutcome(datagrams: last.map { [$0] } ?? [], events: events)
    }

    private func failed(_ initiation: Initiation, _ reason: InitiationFailure) -> IKEEvent {
        .initiationFailed(
            session: initiation.session, connection: initiation.connection.name, remote: initiation.machine.remote, reason: reason)
    }

    /// The peer believes the IKE SA to stand, and is told that it does not (RFC 7296 §2.21.2). Said once: its own liveness check
    /// finds out if that is lost.
    private mutating func refuse(_ initiation: Initiation, _ reason: InitiationFailure, context: IKEContext) -> IKEOutcome {
        fail(initiation, reason, last: initiation.machine.lastWord(.notify(.authenticationFailed), context: context))
    }

    // MARK: Redirects (RFC 5685 §3, §6)

    private func redirectedFrom(_ predecessor: SessionID?, to remote: Endpoint, table: SessionTable) -> IPAddress? {
        predecessor.flatMap { table[$0] }.flatMap { $0.redirectedTo == remote.address ? $0.remote.address : nil }
    }

    /// The same call, to another gateway: for whoever waits for it nothing changes. After IKE_AUTH the IKE SA with the first gateway is
    /// deleted; said once, for that gateway expects nothing else.
    private mutating func goOn(_ initiation: Initiation, to gateway: GatewayIdentity, context: IKEContext) -> IKEOutcome {
        let farewell =
            initiation.machine.redirection == nil
            ? nil : initiation.machine.lastWord(.delete(DeletePayload(protocolID: .ike)), context: context)
        let from = initiation.machine.configuration.remote.address
        let name = initiation.connection.name
        do throws(RedirectRefusal) {
            let address = try follow(gateway, for: initiation.connection, from: from, context: context)
            guard let next = again(initiation, at: address, context: context) else { throw .noLocalAddress }
            redirects.direct(name, to: address, at: context.now.instant)
            let events = [IKEEvent.redirected(connection: name, from: from, to: gateway)]
            count(events)
            counters.requestsSent += 1
            var outcome = keep(next.initiation, datagrams: next.datagrams)
            outcome.datagrams = (farewell.map { [$0] } ?? []) + outcome.datagrams
            outcome.events = events
            return outcome
        } catch {
            var outcome = fail(initiation, .redirected(to: gateway, error), last: farewell)
            let ignored = IKEEvent.redirectIgnored(connection: name, from: from, to: gateway, reason: error)
            count([ignored])
            outcome.events.insert(ignored, at: 0)
            return outcome
        }
    }

    /// The call from its beginning, to the same peer by our configuration (RFC 5685 §3) at another address.
    private func again(
        _ initiation: Initiation, at address: IPAddress, context: IKEContext
    ) -> (initiation: Initiation, datagrams: [Datagram])? {
        let before = initiation.machine.configuration
        guard let local = localAddress(for: address, connection: initiation.connection),
            let child = initiation.connection.children.first(where: { $0.name == before.childName }),
            var offer = try? offer(
                connection: initiation.connection, child: child, local: Endpoint(local, 500), remote: Endpoint(address, 500))
        else { return nil }
        // Whoever redirects is not authenticated: the peer is the same, and so is what it has to know.
        offer.secret = before.secret
        offer.ikeSPI = initiation.spi
        offer.childSPI = initiation.childSPI
        offer.announcesInitialContact = before.announcesInitialContact
        offer.trigger = before.trigger
        offer.redirectedFrom = before.remote.address
        var next = initiation
        next.machine = IKEInitiator(configuration: offer)
        let datagrams = next.machine.start(context: context)
        return datagrams.isEmpty ? nil : (next, datagrams)
    }

    // MARK: The session

    private mutating func establish(_ initiation: Initiation, table: SessionTable, context: IKEContext) -> IKEOutcome {
        var machine = initiation.machine
        machine.ikeSA?.receiveWindow = configuration.limits.requestWindow
        machine.ikeSA?.counterSync.knownSince = context.epoch
        machine.ikeSA?.lifetime = initiation.connection.lifetime.chosen(context)
        let offer = machine.configuration
        // Where any identity will do, the secret has to be the one of whoever it is.
        guard let sa = machine.ikeSA, let identity = machine.authenticatedIdentity, let method = machine.authenticatedMethod,
            method != .preSharedKey || configuration.secret(local: offer.localIdentity, remote: identity) == offer.secret
        else { return refuse(initiation, .notAuthenticated, context: context) }
        guard table.count < SessionTable.sessionCountMax else {
            let farewell = machine.lastWord(.delete(DeletePayload(protocolID: .ike)), context: context)
            return fail(initiation, .tooManySessions, last: farewell)
        }
        if let gateway = machine.redirection { return goOn(initiation, to: gateway, context: context) }
        initiations[initiation.spi] = nil
        redirects.isUp(initiation.connection.name)
        let authorization = PeerAuthorization(
            connection: initiation.connection.name, localIdentity: offer.localIdentity, remoteIdentity: identity, method: method)
        var session = Session(
            id: initiation.session, uniqueID: withUniqueIDs(table: table) { $0.nextSession() }, authorization: authorization,
            capabilities: machine.agreed, local: machine.local, remote: machine.remote, encapsulation: machine.encapsulation,
            localBehindNAT: machine.nat?.localBehindNAT ?? false, remoteBehindNAT: machine.nat?.remoteBehindNAT ?? false, ikeSA: sa,
            peerAddresses: machine.peerAddresses, establishedWallMilliseconds: context.now.wallMilliseconds)
        session.predecessor = initiation.predecessor
        session.reauthenticateAt = machine.reauthenticationDeadline(initiation.connection, context: context)
        let authenticated = IKEEvent.authenticated(
            session: session.id, connection: authorization.connection, identity: identity, remote: machine.remote)
        if machine.isChildless { return addFirstChild(of: initiation, in: session, authenticated, table: table, context: context) }
        switch child(of: initiation, table: table, context: context) {
        case .failure(let reason):
            return undo(session, events: [authenticated, failed(initiation, reason)], context: context)
        case .success(var child):
            child.uniqueID = withUniqueIDs(table: table) { $0.nextChild() }
            session.children = [child]
            let events = [authenticated, .childAdded(session: session.id, inboundSPI: child.inboundSPI, name: child.name)]
            count(events)
            watch(session, from: context.now.instant)
            return IKEOutcome(
                deltas: [SessionDelta(session: session.id, changes: [.created(session)])], events: events, session: session.id)
        }
    }

    /// After a childless IKE_AUTH (RFC 6023) the CHILD SA comes by an exchange of its own, in the same delta: whoever takes over in
    /// between finishes it.
    private mutating func addFirstChild(
        of initiation: Initiation, in session: Session, _ authenticated: IKEEvent, table: SessionTable, context: IKEContext
    ) -> IKEOutcome {
        count([authenticated])
        watch(session, from: context.now.instant)
        let offer = initiation.machine.configuration
        let wish = Wish.createChildSA(ChildWish(name: offer.childName, trigger: offer.trigger))
        var outcome = want(wish, in: session, table: table, context: context)
        let changes = [SessionChange.created(session)] + outcome.deltas.flatMap(\.changes)
        outcome.deltas = [SessionDelta(session: session.id, changes: changes)]
        outcome.events.insert(authenticated, at: 0)
        outcome.session = session.id
        return outcome
    }

    private enum ChildResult {
        case success(ChildSA)
        case failure(InitiationFailure)
    }

    /// The CHILD SA, if the peer stayed within what was offered (RFC 7296 §2.9).
    private func child(of initiation: Initiation, table: SessionTable, context: IKEContext) -> ChildResult {
        let machine = initiation.machine
        let offer = machine.configuration
        if case .refused(let notify) = machine.lastResult { return .failure(.childRefused(notify: notify)) }
        guard machine.lastResult == .succeeded, var child = machine.children.first,
            child.localSelectors.isNarrowed(from: offer.localSelectors), child.remoteSelectors.isNarrowed(from: offer.remoteSelectors),
            !table.isInUse(inboundSPI: child.inboundSPI)
        else { return .failure(.badChild) }
        if let configured = initiation.connection.children.first(where: { $0.name == child.name }) {
            child.setLimits(configured, context: context)
        }
        return .success(child)
    }

    /// RFC 7296 §1.2 lets an IKE SA stand without a CHILD SA; nobody asked for one, so that it is deleted as every other one is.
    private mutating func undo(_ session: Session, events: [IKEEvent], context: IKEContext) -> IKEOutcome {
        count(events)
        var outcome = request(.deleteIKESA, in: session, sa: session.ikeSA, context: context)
        let changes = [SessionChange.created(session)] + outcome.deltas.flatMap(\.changes)
        outcome.deltas = [SessionDelta(session: session.id, changes: changes)]
        outcome.events = events
        outcome.session = session.id
        return outcome
    }
}

extension InitiatorConfiguration {
    /// Whether the packet belongs to what is offered.
    fileprivate func holds(_ packet: PacketSelector) -> Bool {
        localSelectors.contains { $0.contains(packet.local) } && remoteSelectors.contains { $0.contains(packet.remote) }
    }
}

extension IKEInitiator {
    /// By when we have to have authenticated anew: as the peer says (RFC 4478), or as we do, whichever is sooner.
    fileprivate func reauthenticationDeadline(_ connection: ConnectionConfiguration, context: IKEContext) -> Int64? {
        let said = authenticationLifetime.map { max(Int64($0), Session.reauthenticationSecondsMin) * 1000 }
        let own = connection.reauthenticationTime.map { $0.inNanoseconds / 1_000_000 }
        return [said, own].compactMap { $0 }.min().map { context.now.wallMilliseconds + $0 }
    }

    /// An INFORMATIONAL request after IKE_AUTH that is not repeated.
    fileprivate func lastWord(_ payload: Payload, context: IKEContext) -> Datagram? {
        guard let ikeSA,
            let bytes = seal(
                [payload], sa: ikeSA, exchange: .informational, messageID: ikeSA.nextSendID, isResponse: false, context: context
            )?.first
        else { return nil }
        return datagram(bytes)
    }
}
