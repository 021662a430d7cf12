import Control
import Node
import Pair
import Session

/// What the checkers remember, and the trace that explains a failure.
struct Checks {
    /// Which run this is, for the message.
    var label = ""
    var hasFailed = false
    /// What happened, in words; the last of it is printed with a failure.
    var lines: [String] = []
    var linesShown = 60
    /// Whether the trace tells of each IKE datagram that arrives.
    var tracesDatagrams = false
    /// Why state may be gone for good, if it may: two owners, or a death without a standby in step.
    var lossReason: String?
    /// Both nodes had their gates open at once.
    var hasSplit = false
    /// The same, and they do not hold the same again: their numbers have not been put in order yet.
    var isSplit = false
    /// One of them died before that: nobody knows its numbers.
    var hasOrphans = false
    /// A node went on with what was on its disk, and may be far behind.
    var hasRestored = false
    /// Until then two owners are what nobody can avoid: wires were cut until a moment ago.
    var splitAllowedUntil: UInt64 = 0
    var ike = IKERecord()
    /// What numbers are used under: an SA's outbound keys, or its inbound SPI if its node does not know it any more.
    enum NumberSpace: Hashable {
        case keys(DirectionKeys)
        case unknown(UInt32)
    }

    var usedNumbers: [NumberSpace: Set<UInt64>] = [:]
    /// The highest number that each SA's end-user has seen.
    var userTop: [UInt32: UInt64] = [:]
    /// The last acknowledged index of each node as sender for which the tables were compared.
    var compared: [UInt64] = [0, 0]
    var comparesTables = true
    /// Which node has to be owner, and by when: the other one has died, and nothing else is wrong.
    var takeoverDue: (node: Int, by: UInt64)?
    /// Since when the two cannot be in touch: one of them is dead or does not run, or the link is cut.
    var apartSince: UInt64?

    /// After it everything that a cut brought about is over: the longest patience is a starting node's.
    static let settlingTime: UInt64 = 3_000_000_000
}

extension World {
    func trace(_ text: @autoclosure () -> String) { checks.lines.append("\(Double(now / 1000) / 1000) ms  \(text())") }

    func traceArrival(_ datagram: Datagram, at place: @autoclosure () -> String) {
        guard checks.tracesDatagrams, let header = IKEHeaderInTrace(datagram.bytes) else { return }
        trace("    \(datagram.local) -> \(datagram.remote) at \(place()): \(header.text)")
    }

    /// Tells of at most one failure in a run, with the trace: what follows a fault are other faults.
    func expect(_ holds: Bool, _ text: @autoclosure () -> String) {
        guard !holds, !checks.hasFailed else { return }
        checks.hasFailed = true
        onFailure("\(checks.label) at \(now / 1_000_000) ms: \(text())\n\(checks.lines.suffix(checks.linesShown).joined(separator: "\n"))")
    }

    func allowLoss(_ reason: String) {
        guard checks.lossReason == nil else { return }
        checks.lossReason = reason
        trace("state may be lost: \(reason)")
    }

    // MARK: - Law 3: numbers

    func checkSent(_ number: UInt64, spi: UInt32, from index: Int) {
        let hex = String(spi, radix: 16)
        // Two SAs may have one key: that is what a number must not come twice under.
        let keys = nodes[index]?.table.session(inboundSPI: spi)?.child(inboundSPI: spi)?.outboundKeys
        let isNew = checks.usedNumbers[keys.map { .keys($0) } ?? .unknown(spi), default: []].insert(number).inserted
        expect(isNew, "node \(index) used number \(number) of \(hex) a second time")
        let top = checks.userTop[spi] ?? 0
        checks.userTop[spi] = max(number, top)
        // Of two owners at once one is behind the other: its packets are lost, none is taken twice. When they hold the same again, the one
        // that goes on is above both. A node that has nothing but what was on its disk a while ago may be behind as well.
        let mayBeBehind = checks.isSplit || checks.hasRestored
        expect(number > top || mayBeBehind, "the end-user drops \(number) of \(hex) from node \(index) as a replay: it saw \(top)")
    }

    func checkIKE(_ datagram: Datagram) {
        if let problem = checks.ike.note(datagram.bytes, isForgotten: checks.hasSplit || checks.lossReason != nil) {
            expect(false, problem)
        }
        if checks.ike.isContradicted { allowLoss("two owners made SAs under one message ID") }
    }

    // MARK: - Law 2: nothing leaves before the standby has what explains it

    func checkOutput(_ effects: [Effect], of index: Int) {
        // What waited for a process that did not run may be of a link that is over.
        guard !isDraining, wires.areLinked, let node = nodes[index], node.isOwner, node.sender.pairState == .paired,
            let standby = nodes[1 - index],
            !standby.isOwner
        else { return }
        for case .send(let datagram) in effects {
            checkHandshake(datagram, from: node, standby: standby)
            guard let header = SentHeader(datagram.bytes) else { continue }
            let spi = header.localSPI
            let kind = header.isResponse ? "response" : "request"
            let text = "\(kind) \(header.messageID) of IKE SA \(String(spi, radix: 16)) left before its entry was acknowledged"
            let known = standby.table.ikeSA(localSPI: spi)
            let reached = header.isResponse ? known?.nextReceiveID : known?.nextSendID
            // An IKE SA that has ended here by now may have ended there too.
            let isOver = known == nil && node.table.ikeSA(localSPI: spi) == nil
            expect(isOver || reached ?? 0 > header.messageID, text)
        }
    }

    /// Of whoever goes on with our IKE_SA_INIT response the standby knows, unless cookies are asked for.
    private func checkHandshake(_ datagram: Datagram, from node: Node, standby: Node) {
        let bytes = datagram.bytes
        guard bytes.count >= 28, bytes[18] == 34, bytes[19] & 0x20 != 0 else { return }
        let spi = bytes[8..<16].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard spi != 0, node.sharesHandshake(spi) else { return }
        expect(standby.holdsHandshake(spi), "half-open IKE SA \(String(spi, radix: 16)) was shown before the standby had it")
    }

    // MARK: - Laws 1 and 4, and bounds

    func checkState(of index: Int) {
        checkGates()
        guard let node = nodes[index] else { return }
        checkBounds(node, index)
        checkRoads(node, index)
        guard node.isOwner else { return }
        if !node.isHolding, suspended[index] == nil { checkDataPlane(node, index) }
        if node.sender.isInStep, node.sender.acknowledged != checks.compared[index] { checkTables(node, index) }
        checks.compared[index] = node.sender.acknowledged
    }

    func checkGates() {
        if !wires.areWhole || frozen.contains(where: { $0 != nil }) { checks.splitAllowedUntil = now + Checks.settlingTime }
        // One that waits for the answer to its hand-over is silent, and goes on if it never comes: while the two cannot hear each other
        // its peer may have been owner in between.
        let canSplit = !wires.areWhole || frozen.contains { $0 != nil }
        let areBothOwners = canSplit && nodes.allSatisfy { $0?.isOwner == true }
        guard areBothOwners || planes[0].gate == .open && planes[1].gate == .open else { return }
        // Two that are both new and have nothing may begin at the same moment.
        if nodes.allSatisfy({ $0?.table.count == 0 }) { return }
        if !checks.hasSplit { trace("both nodes are active") }
        (checks.hasSplit, checks.isSplit) = (true, true)
        expect(now <= checks.splitAllowedUntil, "both gates are open though no wire was cut")
    }

    private func checkRoads(_ node: Node, _ index: Int) {
        guard !options.nodeAddresses.isEmpty, node.table.count < 20 else { return }
        expect(node.countsRoadsRightly, "node \(index) counts its sessions' addresses wrongly")
    }

    private func checkBounds(_ node: Node, _ index: Int) {
        expect(node.overgrown.isEmpty, "node \(index) grows without end: \(node.overgrown)")
        expect(node.countsTrafficOfKnownSAs, "node \(index) keeps counters of SAs that are gone")
    }

    /// Both nodes hold the same whenever the active believes so (law 1).
    func checkTables(_ node: Node, _ index: Int) {
        guard checks.comparesTables, wires.areLinked, let standby = nodes[1 - index], !standby.isOwner else { return }
        let isSame = standby.table.sessions == node.table.sessions && standby.table.reservations == node.table.reservations
        expect(isSame, "node \(index) thinks that the standby is in step, and the tables differ")
        checks.isSplit = checks.isSplit && checks.hasOrphans
        checkReadiness(of: standby, 1 - index)
    }

    // MARK: - Law 6: the standby is ready beforehand

    private func checkReadiness(of standby: Node, _ index: Int) {
        guard standby.receiver.isInStep else { return }
        let wanted = Set(standby.table.sessions.values.flatMap { $0.children.map(\.inboundSPI) })
        let isReady = Set(planes[index].sas.keys).union(refused[index]) == wanted
        expect(isReady || suspended[index] != nil, "node \(index) is the standby, and its data plane is not ready")
    }

    // MARK: - Law 8: who is asked says so

    /// Longer than heartbeats, the commit timeout and a TCP connection's end take to be noticed.
    static let noticingTime: UInt64 = 3_000_000_000

    func checkStatus() {
        let isApart = nodes.contains { $0 == nil } || frozen.contains { $0 != nil } || wires.linkIsCut
        checks.apartSince = isApart ? checks.apartSince ?? now : nil
        guard let since = checks.apartSince, now - since > World.noticingTime else { return }
        for index in nodes.indices where isAlive(index) && frozen[index] == nil && nodes[index]?.isOwner == true {
            expect(status(index).pairState != "paired", "node \(index) says that it is paired, and nobody is there")
        }
    }

    // MARK: - Law 6: takeover time

    /// The longest way to find out: two that have just met ask for four heartbeats whether the other lives; and what the wires need.
    static let takeoverTimeMax: UInt64 = 300_000_000

    func checkTakeoverTime() {
        guard let due = checks.takeoverDue else { return }
        if planes[due.node].gate == .open, holdsAddress[due.node] { return checks.takeoverDue = nil }
        expect(now <= due.by, "node \(due.node) has not taken over \(World.takeoverTimeMax / 1_000_000) ms after the owner's death")
    }

    /// With nothing held back, the data plane has exactly the SAs of the table.
    private func checkDataPlane(_ node: Node, _ index: Int) {
        let wanted = Set(node.table.sessions.values.flatMap { $0.children.map(\.inboundSPI) })
        expect(
            Set(planes[index].sas.keys).union(refused[index]) == wanted, "node \(index): the data plane has other SAs than the table")
        expect(refused[index].isEmpty || node.isRepairing || untold[index] > 0, "node \(index) has forgotten what its data plane refused")
    }

    /// Wires are about to change: two owners may be the consequence for a while.
    func noteDisturbance() {
        checks.splitAllowedUntil = now + Checks.settlingTime
        checks.takeoverDue = nil
    }

    func checkKill(of index: Int) {
        checks.takeoverDue = nil
        guard let dying = nodes[index] else { return }
        checks.hasOrphans = checks.hasOrphans || checks.isSplit
        guard let other = nodes[1 - index] else { return allowLoss("nobody was left") }
        if frozen[1 - index] != nil { return allowLoss("nobody that runs was left") }
        if other.isOwner {
            if dying.isOwner { allowLoss("one of two owners died") }
            let isMissing = dying.table.sessions.keys.contains { other.table[$0] == nil }
            if isMissing, frozen[index] != nil { allowLoss("node \(index) was stopped while the other one began without what it holds") }
            if dying.holdsWhatOwnerMayNot { allowLoss("node \(index) died before it had handed over what it did as owner") }
            return
        }
        let isSafe = dying.isOwner && dying.sender.pairState == .paired && other.receiver.isInStep
        if !isSafe { allowLoss("node \(index) died, and the other one was not in step") }
        // With somebody to be asked it takes as long as the answer.
        if isSafe, wires.areWhole, options.arbitration.isEmpty { checks.takeoverDue = (1 - index, now + World.takeoverTimeMax) }
    }
}

extension SessionTable {
    func ikeSA(localSPI: UInt64) -> IKESA? {
        guard let session = session(localSPI: localSPI) else { return nil }
        return session.ikeSA(localSPI: localSPI)
    }
}

/// An IKE header for the eyes (RFC 7296 §3.1).
private struct IKEHeaderInTrace {
    let text: String

    init?(_ bytes: [UInt8]) {
        guard bytes.count >= 28 else { return nil }
        func number(_ range: Range<Int>) -> UInt64 { bytes[range].reduce(0) { $0 << 8 | UInt64($1) } }
        let spis = "\(String(number(0..<8), radix: 16)):\(String(number(8..<16), radix: 16))"
        let flags = "\(bytes[19] & 0x08 != 0 ? "initiator's" : "responder's") \(bytes[19] & 0x20 != 0 ? "response" : "request")"
        text = "\(spis) exchange \(bytes[18]) \(flags) \(number(20..<24)), \(bytes.count) octets"
    }
}

/// What the header of a datagram of ours says (RFC 7296 §3.1), after IKE_SA_INIT.
private struct SentHeader {
    let localSPI: UInt64
    let isResponse: Bool
    let messageID: UInt32

    init?(_ bytes: [UInt8]) {
        guard bytes.count >= 28, bytes[18] != 34 else { return nil }
        func number(_ range: Range<Int>) -> UInt64 { bytes[range].reduce(0) { $0 << 8 | UInt64($1) } }
        // The I flag says whose SPI is whose.
        localSPI = bytes[19] & 0x08 != 0 ? number(0..<8) : number(8..<16)
        isResponse = bytes[19] & 0x20 != 0
        messageID = UInt32(number(20..<24))
    }
}
