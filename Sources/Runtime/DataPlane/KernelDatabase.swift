import Netlink
import Session

/// The CHILD SAs of this node in the kernel: commands become XFRM requests, sent many at a time; events become reports.
///
/// Belongs to one thread at a time: `KernelDataPlane` keeps it under its lock.
struct KernelDatabase {
    /// Request ids of ours, by which SAs that an earlier life of the process left are told from others'. 16 times as many as a node
    /// can hold sessions.
    static let requestIDs: Range<UInt32> = 0x5A00_0000..<0x5B00_0000

    /// So many numbers are not sent between two requests of one system call: a second's worth at a million packets a second.
    private static let leftMin: UInt64 = 1 << 20

    /// CHILD SAs whose inbound SAs share a request id: those of one session with the same selectors.
    private struct Group: Hashable {
        var session: SessionID
        var selectors: [XFRMSelector]
    }

    private struct Pending {
        enum Role {
            case plain, removal, outboundLimit(UInt32, from: UInt64), outboundJump(UInt32)
            /// `isAgain`: what was in its place is deleted before it.
            case outboundState(UInt32, isAgain: Bool)
        }
        var request: XFRM.Request
        var role: Role
        var command: DataPlaneCommand
    }

    private let xfrm: XFRM
    private let protected: [ProtectedTraffic]
    private let thresholds: XFRMReportThresholds

    private(set) var gate = GateState.closed
    private var children: GradualDictionary<UInt32, KernelChild> = [:]
    /// Inbound SPIs by what names the outbound SA; of two peers behind one NAT that chose the same SPI, the first one's.
    private var byOutbound: GradualDictionary<XFRMStateID, UInt32> = [:]
    private var policies = KernelPolicies()
    private var traps = KernelTraps()
    private var groups: GradualDictionary<Group, (requestID: UInt32, members: Int)> = [:]
    private var nextRequestID = KernelDatabase.requestIDs.lowerBound
    private var requestIDsInUse: Set<UInt32> = []
    private var installations: UInt64 = 0
    private var pending: [Pending] = []
    private var moved: Set<UInt32> = []
    private(set) var statistics = DataPlaneStatistics()

    init(xfrm: sending XFRM, protected: [ProtectedTraffic], thresholds: XFRMReportThresholds) {
        self.xfrm = xfrm
        self.protected = protected
        self.thresholds = thresholds
    }

    // MARK: Commands

    mutating func apply(_ commands: [DataPlaneCommand]) -> [DataPlaneFailure] {
        var failures: [DataPlaneFailure] = []
        for command in commands {
            do {
                switch command {
                case .install(let installation): try install(installation, command, &failures)
                case .remove(_, let child, _, _): remove(inboundSPI: child.inboundSPI, command)
                case .lease(let spi, let numbers): try lease(spi, numbers, command, &failures)
                case .advanceInbound(let spi, let top): try advanceInbound(spi, top, command, &failures)
                case .gate(let state): try setGate(state, command)
                case .traps(let list): enqueuePolicies(try traps.set(list), command)
                }
            } catch {
                failures.append(DataPlaneFailure(command, reason: "\(error)"))
            }
        }
        flush(&failures)
        statistics.childSAs = children.count
        return failures
    }

    private mutating func install(
        _ installation: ChildInstallation, _ command: DataPlaneCommand, _ failures: inout [DataPlaneFailure]
    ) throws {
        let spi = installation.child.inboundSPI
        guard let known = children[spi] else { return try installNew(installation, command) }
        let (old, new) = (known.installation, installation)
        guard known.isSameSA(as: installation) else {
            // The same SPI with other keys or selectors is another CHILD SA.
            remove(inboundSPI: spi, command)
            return try installNew(installation, command)
        }
        if old.local.address != new.local.address || old.remote.address != new.remote.address || old.encapsulation != new.encapsulation {
            move(spi, to: installation, command, &failures)
        } else if old.local != new.local || old.remote != new.remote {
            children[spi]!.installation = installation
            enqueue(.updateState(children[spi]!.inboundState(thresholds: thresholds)), command)
            enqueueOutboundUpdate(spi, from: known.limit, command)
        } else {
            children[spi]!.installation = installation
        }
        enqueuePolicies(policies.put(children[spi]!.claim, for: known.selectors), command)
        try lease(spi, installation.numbers, command, &failures)
        try advanceInbound(spi, installation.child.inboundTop, command, &failures)
    }

    private mutating func installNew(_ installation: ChildInstallation, _ command: DataPlaneCommand) throws {
        let spi = installation.child.inboundSPI
        let selectors = try XFRMSelector.selectors(
            source: installation.child.localSelectors, destination: installation.child.remoteSelectors)
        guard !selectors.isEmpty else { throw DataPlaneFailure(command, reason: "no traffic fits its selectors") }
        let group = Group(session: installation.session, selectors: selectors)
        let requestID = groups[group]?.requestID ?? takeRequestID()
        groups[group, default: (requestID, 0)].members += 1
        installations += 1
        let child = KernelChild(installation, requestID: requestID, selectors: selectors, order: installations)
        children[spi] = child
        nameOutbound(child)
        enqueue(.addState(child.inboundState(thresholds: thresholds)), command)
        enqueue(.addState(child.outboundState(thresholds: thresholds)), command, .outboundState(spi, isAgain: false))
        enqueuePolicies(policies.put(child.claim, for: selectors), command)
    }

    private mutating func takeRequestID() -> UInt32 {
        let all = KernelDatabase.requestIDs
        repeat {
            nextRequestID = nextRequestID + 1 < all.upperBound ? nextRequestID + 1 : all.lowerBound
        } while !requestIDsInUse.insert(nextRequestID).inserted
        return nextRequestID
    }

    /// Other addresses name other SAs to the kernel. The numbers go on where they stand.
    private mutating func move(
        _ spi: UInt32, to installation: ChildInstallation, _ command: DataPlaneCommand, _ failures: inout [DataPlaneFailure]
    ) {
        flush(&failures)
        guard var child = children[spi] else { return }
        let (inbound, outbound) = (child.inboundID, child.outboundID)
        let outcomes =
            (try? xfrm.perform([.readCounters(outbound), .deleteState(outbound), .readCounters(inbound), .deleteState(inbound)])) ?? []
        for case .counters(let counters) in outcomes { observe(counters, in: &child) }
        forgetOutbound(child)
        child.move(to: installation, wasSending: gate == .open)
        nameOutbound(child)
        children[spi] = child
        enqueue(.addState(child.inboundState(thresholds: thresholds)), command)
        if child.isSending { enqueue(.addState(child.outboundState(thresholds: thresholds)), command, .outboundState(spi, isAgain: false)) }
    }

    /// The outbound SA has its name for itself.
    private func isNamed(_ spi: UInt32) -> Bool { children[spi].map { byOutbound[$0.outboundID] == spi } ?? false }

    private mutating func nameOutbound(_ child: KernelChild) {
        if byOutbound[child.outboundID] == nil { byOutbound[child.outboundID] = child.installation.child.inboundSPI }
    }

    private mutating func forgetOutbound(_ child: KernelChild) {
        if byOutbound[child.outboundID] == child.installation.child.inboundSPI { byOutbound[child.outboundID] = nil }
    }

    private mutating func remove(inboundSPI spi: UInt32, _ command: DataPlaneCommand) {
        guard let child = children.removeValue(forKey: spi) else { return }
        forgetOutbound(child)
        moved.remove(spi)
        // The policies first: without its SA a policy drops what it matches, and so does the block behind it.
        enqueuePolicies(policies.remove(inboundSPI: spi, from: child.selectors), command)
        enqueue(.deleteState(child.outboundID), command, .removal)
        enqueue(.deleteState(child.inboundID), command, .removal)
        let group = Group(session: child.installation.session, selectors: child.selectors)
        guard var members = groups[group] else { return }
        members.members -= 1
        groups[group] = members.members == 0 ? nil : members
        if members.members == 0 { requestIDsInUse.remove(members.requestID) }
    }

    /// While traps are listened for, the kernel puts a larval state in the place of an SA that a policy names and that is gone.
    private mutating func addOutboundAgain(_ child: KernelChild, _ command: DataPlaneCommand) {
        let spi = child.installation.child.inboundSPI
        if byOutbound[child.outboundID] == spi { enqueue(.deleteState(child.outboundID), command, .removal) }
        enqueue(.addState(child.outboundState(thresholds: thresholds)), command, .outboundState(spi, isAgain: true))
    }

    private mutating func lease(
        _ spi: UInt32, _ numbers: LeasedNumbers, _ command: DataPlaneCommand, _ failures: inout [DataPlaneFailure]
    ) throws {
        guard children[spi] != nil else { throw DataPlaneFailure(command, reason: "no such CHILD SA") }
        if numbers.next > children[spi]!.lastSent + 1, gate != .closed { refresh(spi, &failures) }
        let before = children[spi]!
        let (jumps, extends) = (children[spi]!.raise(next: numbers.next), children[spi]!.raise(limit: numbers.limit))
        let child = children[spi]!
        guard child.isSending else {
            guard extends else { return }
            children[spi]!.restartOutbound()
            return addOutboundAgain(child, command)
        }
        let jump = XFRM.Request.setReplay(
            child.outboundID, source: child.installation.local.address, child.outboundReplay, counters: child.outbound.seen)
        // The kernel takes number and limit one after the other. With numbers left there is time to raise the limit first, and no
        // packet is lost. Else the number goes first: what is sent between the two ends the SA (`resolve` makes it anew), but
        // none of the numbers in between, which are the other node's, is used.
        let limitFirst = before.left > KernelDatabase.leftMin
        if jumps, !limitFirst { enqueue(jump, command) }
        if extends { enqueueOutboundUpdate(spi, from: before.limit, command) }
        if jumps, limitFirst { enqueue(jump, command, .outboundJump(spi)) }
    }

    private mutating func advanceInbound(
        _ spi: UInt32, _ top: UInt64, _ command: DataPlaneCommand, _ failures: inout [DataPlaneFailure]
    ) throws {
        guard children[spi] != nil else { throw DataPlaneFailure(command, reason: "no such CHILD SA") }
        if top > children[spi]!.top, gate != .closed { refresh(spi, &failures) }
        guard children[spi]!.raise(top: top) else { return }
        let child = children[spi]!
        enqueue(.setReplay(child.inboundID, source: child.installation.remote.address, child.inboundReplay, counters: nil), command)
    }

    private mutating func setGate(_ state: GateState, _ command: DataPlaneCommand) throws {
        for policy in try KernelPolicies.blocks(protected, gate: state) { enqueue(.setPolicy(policy), command) }
        gate = state
        statistics.gate = state
    }

    // MARK: The kernel

    private mutating func enqueue(_ request: XFRM.Request, _ command: DataPlaneCommand, _ role: Pending.Role = .plain) {
        pending.append(Pending(request: request, role: role, command: command))
    }

    private mutating func enqueuePolicies(_ requests: [XFRM.Request], _ command: DataPlaneCommand) {
        for request in requests {
            if case .deletePolicy = request { enqueue(request, command, .removal) } else { enqueue(request, command) }
        }
    }

    private mutating func enqueueOutboundUpdate(_ spi: UInt32, from limit: UInt64, _ command: DataPlaneCommand) {
        guard let child = children[spi], child.isSending else { return }
        enqueue(.updateState(child.outboundState(thresholds: thresholds)), command, .outboundLimit(spi, from: limit))
    }

    /// Sends what has been gathered. An SA that the kernel ended under our hands is made anew, and its numbers are not used again.
    private mutating func flush(_ failures: inout [DataPlaneFailure]) {
        while !pending.isEmpty {
            let batch = pending
            pending = []
            do throws(NetlinkError) {
                let outcomes = try xfrm.perform(batch.map(\.request))
                for (item, outcome) in zip(batch, outcomes) {
                    if let error = outcome.error { resolve(item, error, &failures) }
                }
            } catch {
                failures += batch.map { DataPlaneFailure($0.command, reason: "\(error)") }
            }
        }
    }

    private mutating func resolve(_ item: Pending, _ error: NetlinkError, _ failures: inout [DataPlaneFailure]) {
        switch item.role {
        case .removal where error.isNotThere: return
        case .outboundLimit(let spi, let limit) where error.isNotThere:
            guard children[spi] != nil else { return }
            // It used up its old limit, and the event that said so was not read yet or was lost.
            _ = children[spi]!.raise(next: limit + 1)
            children[spi]!.restartOutbound()
            addOutboundAgain(children[spi]!, item.command)
            return
        case .outboundState(let spi, isAgain: false) where error.isAlreadyThere && isNamed(spi):
            // A packet met the policy before the SA was there: the larval state makes room.
            return addOutboundAgain(children[spi]!, item.command)
        case .outboundState(let spi, _): children[spi]?.isSending = false
        case .outboundJump(let spi) where error.isNotThere && children[spi]?.isSending == true: return  // made anew already
        case .plain, .removal, .outboundLimit, .outboundJump: break
        }
        failures.append(DataPlaneFailure(item.command, reason: "\(error)"))
    }

    /// Reads what the kernel has of a CHILD SA now.
    private mutating func refresh(_ spi: UInt32, _ failures: inout [DataPlaneFailure]) {
        flush(&failures)
        guard var child = children[spi] else { return }
        let outcomes = (try? xfrm.perform([.readCounters(child.outboundID), .readCounters(child.inboundID)])) ?? []
        for case .counters(let counters) in outcomes { observe(counters, in: &child) }
        children[spi] = child
    }

    // MARK: Events

    /// What the kernel says of an SA's numbers, asked or not; of others' SAs nothing is noted.
    mutating func note(_ counters: XFRMCounters) {
        guard let spi = childSPI(counters.id), var child = children[spi] else { return }
        observe(counters, in: &child)
        children[spi] = child
    }

    /// - Returns: whether it is ours.
    mutating func noteExpiry(_ counters: XFRMCounters, isHard: Bool) -> Bool {
        guard let spi = byOutbound[counters.id], var child = children[spi] else { return false }
        observe(counters, in: &child)
        // An SA that was made anew meanwhile has a higher limit than the one that the event is of.
        if isHard, counters.packets >= child.limit {
            child.outboundExpired()
            statistics.counters["lease_exhausted", default: 0] += 1
        }
        children[spi] = child
        return true
    }

    /// The inbound SPI of the SA that a packet came to from elsewhere, if it is ours and that is news.
    func movedChild(_ id: XFRMStateID, remote: Endpoint) -> UInt32? {
        guard let child = children[id.spi], child.inboundID == id, child.installation.remote != remote else { return nil }
        return id.spi
    }

    /// What the kernel's question for an SA is about, if it is for a trap of ours.
    func trapped(_ acquire: XFRMAcquire) -> DataPlaneEvent? { traps.event(acquire) }

    private func childSPI(_ id: XFRMStateID) -> UInt32? {
        if let child = children[id.spi], child.inboundID == id { return id.spi }
        return byOutbound[id]
    }

    private mutating func observe(_ counters: XFRMCounters, in child: inout KernelChild) {
        let before = child.report
        if counters.id == child.inboundID {
            let new = child.observeInbound(counters)
            statistics.inboundPackets += new.packets
            statistics.inboundBytes += new.bytes
        } else {
            let new = child.observeOutbound(counters)
            statistics.outboundPackets += new.packets
            statistics.outboundBytes += new.bytes
        }
        if child.report != before { moved.insert(before.inboundSPI) }
    }

    var hasReports: Bool { !moved.isEmpty }

    /// The counters of the CHILD SAs that moved since the last call.
    mutating func takeReports() -> [CounterReport] {
        defer { moved.removeAll(keepingCapacity: true) }
        return moved.compactMap { children[$0]?.report }
    }

    /// The kernel dropped events, and all was read instead.
    mutating func noteOverrun() { statistics.counters["kernel_event_overruns", default: 0] += 1 }

    // MARK: Start and end

    /// Blocks first, closed; then away with what an earlier life of the process left.
    mutating func start() throws {
        let blocks = try KernelPolicies.blocks(protected, gate: .closed)
        for case .failed(let error) in try xfrm.perform(blocks.map { .setPolicy($0) }) { throw error }
        try KernelDatabase.removeTunnels(xfrm, keeping: Set(blocks.map(\.id)))
        try xfrm.hashPoliciesByPeerHost()
    }

    /// The gate is closed and stays so; SAs and tunnel policies go.
    mutating func stop() throws {
        for case .failed(let error) in try xfrm.perform(KernelPolicies.blocks(protected, gate: .closed).map { .setPolicy($0) }) {
            throw error
        }
        gate = .closed
        statistics.gate = .closed
        try KernelDatabase.removeTunnels(xfrm, keeping: nil)
        children = [:]
        byOutbound = [:]
        policies = KernelPolicies()
        traps = KernelTraps()
        groups = [:]
        requestIDsInUse = []
        moved = []
    }

    /// Deletes all SAs and policies of ours but the blocks in `kept`; `nil` keeps all blocks.
    static func removeTunnels(_ xfrm: XFRM, keeping kept: Set<XFRMPolicyID>?) throws(NetlinkError) {
        let policies = try xfrm.policies().map(\.id).filter { id in
            id.tag == KernelPolicies.tunnelTag || id.tag == KernelTraps.tag
                || (id.tag == KernelPolicies.blockTag && kept.map { !$0.contains(id) } ?? false)
        }
        let states = try xfrm.states().filter { requestIDs.contains($0.requestID) }
        let requests = policies.map { XFRM.Request.deletePolicy($0) } + states.map { .deleteState($0.id) }
        for case .failed(let error) in try xfrm.perform(requests) where !error.isNotThere { throw error }
    }
}

extension KernelChild {
    /// Whether it is the same pair of SAs, whatever its endpoints and numbers.
    func isSameSA(as other: ChildInstallation) -> Bool {
        let (mine, theirs) = (installation.child, other.child)
        return mine.outboundSPI == theirs.outboundSPI && mine.algorithms == theirs.algorithms && mine.inboundKeys == theirs.inboundKeys
            && mine.outboundKeys == theirs.outboundKeys && mine.mode == theirs.mode && mine.localSelectors == theirs.localSelectors
            && mine.remoteSelectors == theirs.remoteSelectors && installation.session == other.session
    }
}
