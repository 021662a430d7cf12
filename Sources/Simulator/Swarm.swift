import Control
import Cryptography
import IKE
import Node
import Pair
import Session

/// One random run: whatever happens in whatever order, the laws hold at every step, and peace brings everything back. The seed is all
/// there is to it.
public final class Swarm {
    public enum Kind: UInt64, CaseIterable, Sendable {
        /// Deaths and switchovers on whole wires: never more than one owner, and no death of one node loses anything.
        case whole
        /// Wires are cut as well, each by itself.
        case cut
        /// Processes that stop and go on, clocks, and a network towards the end-users that does what networks do.
        case rough
    }

    /// How a run ended.
    public struct Result: Sendable {
        /// What was found, with the trace; `nil`: nothing.
        public var failure: String?
        /// Of everything that the nodes sent: the same again for the same seed.
        public var digest: UInt64
        public var virtualNanoseconds: UInt64
    }

    private let world: World
    private let kind: Kind
    private let found: FailureBox
    private let dice: RandomSource
    private var tokens: [RequestToken] = []
    private var nextUser = 0
    /// CHILD SAs whose end an operator asked for.
    private var terminated: Set<UInt32> = []

    /// - Parameters:
    ///   - broken: a fault that the checkers must find.
    ///   - linesShown: of the trace, with a failure.
    ///   - tracesDatagrams: tells of each IKE datagram that arrives.
    public init(seed: UInt64, kind: Kind, broken: Break? = nil, linesShown: Int = 60, tracesDatagrams: Bool = false) {
        dice = RandomSource.seeded(seed &* 3 &+ kind.rawValue)
        self.kind = kind
        var options = World.Options(seed: seed &+ 1_000_000, paths: Int(dice.uint32() % 2) + 1)
        options.livenessDelay = dice.uint32() % 2 == 0 ? .milliseconds(400) : nil
        options.retransmitTimeout = .milliseconds(150)
        options.broken = broken
        options.keepsState = seed / UInt64(Kind.allCases.count) % 2 == 1
        let box = FailureBox()
        found = box
        world = World(options) { box.text = $0 }
        world.checks.linesShown = linesShown
        world.checks.tracesDatagrams = tracesDatagrams
        world.checks.label = "seed \(seed), \(kind)"
        world.wires.jitterMax = dice.uint32() % 2 == 0 ? 0 : 3_000_000
        if kind == .rough {
            for index in [0, 1] { world.clocks[index].drift = Int64(roll(Int(2 * Clock.driftMax))) - Clock.driftMax }
        }
        world.trace(
            "settings: \(options.paths) heartbeat paths, jitter to \(world.wires.jitterMax / 1_000_000) ms, "
                + "liveness \(options.livenessDelay.map { "after \($0)" } ?? "never"), drift \(world.clocks.map(\.drift)) ppm")
    }

    private func roll(_ bound: Int) -> Int { Int(dice.uint32() % UInt32(bound)) }
    private func pick<T>(_ choices: [T]) -> T? { choices.isEmpty ? nil : choices[roll(choices.count)] }

    public func run() -> Result {
        passThrough()
        return Result(failure: found.text, digest: world.digest.value, virtualNanoseconds: world.now)
    }

    private func passThrough() {
        world.startPair()
        // Mostly few, so that much happens to each; sometimes a crowd.
        for _ in 0..<(roll(20) == 0 ? 8 + roll(25) : 1 + roll(3)) { addUser() }
        for _ in 0..<(10 + roll(50)) {
            if world.checks.hasFailed { return }
            happen()
            traffic()
            world.run(until: world.now + pause())
            traffic()
            world.checkStatus()
        }
        makePeace()
    }

    /// Mostly so short that what happens overlaps, sometimes until all is quiet.
    private func pause() -> UInt64 {
        switch roll(10) {
        case 0...4: UInt64(roll(3_000_000))
        case 5...7: UInt64(roll(40_000_000))
        case 8: UInt64(roll(400_000_000))
        default: UInt64(roll(2_000_000_000))
        }
    }

    private func happen() {
        let bound = kind == .whole ? 13 : kind == .cut ? 16 : 26
        let what = roll(bound + (world.options.keepsState ? 3 : 0))
        guard what < bound else { return cutPowerOrFillDisk(what - bound) }
        switch what {
        case 0: kill()
        case 1, 2: restart()
        case 3: switchover()
        case 4: resetLink()
        case 5: world.wires.latency = [50_000, 200_000, 1_000_000, 4_000_000][roll(4)]
        case 6, 7: counters()
        case 8: addOrRemoveUser()
        case 9: terminate()
        case 10, 11, 12: userAsks()
        case 13, 14: cut()
        case 16, 17: freezeOrWake()
        case 18: jump()
        case 19, 20, 21: weather()
        case 22, 23: garbage()
        case 24, 25: plane()
        default:
            world.trace("every wire is healed")
            world.heal()
        }
    }

    // MARK: - Nodes

    private func kill() {
        guard world.isAlive(0) || world.isAlive(1) else { return }
        let index = roll(2)
        // The last one dies seldom: what follows is only a new beginning.
        guard world.isAlive(index), world.isAlive(1 - index) || roll(10) == 0 else { return }
        if roll(3) == 0 {
            world.dyingAfter[index] = roll(10)
            world.trace("node \(index) will die \(world.dyingAfter[index]!) effects later")
            return
        }
        world.trace("node \(index) is killed")
        world.kill(index)
        if roll(4) == 0 {
            world.run(until: world.now + UInt64(roll(30_000_000)))
            start(index)
        }
    }

    private func restart() { for index in [0, 1] where !world.isAlive(index) { start(index) } }

    private func start(_ index: Int) {
        guard !world.isAlive(index) else { return }
        world.trace("node \(index) is started")
        world.start(index)
    }

    private func switchover() {
        guard let index = pick([0, 1].filter(world.isAlive)) else { return }
        let force = roll(2) == 0
        world.trace("switchover\(force ? " --force" : "") on node \(index)")
        tokens.append(world.request(index, .switchover(force: force)))
        if roll(5) == 0 {
            world.run(until: world.now + UInt64(roll(2_000_000)))
            kill()
        }
    }

    private func terminate() {
        guard roll(3) == 0, let index = [0, 1].first(where: { world.nodes[$0]?.isOwner == true }),
            let session = pick(world.nodes[index]!.table.sessions.values.sorted { $0.id < $1.id })
        else { return }
        var request = TerminateRequest(uniqueID: session.uniqueID)
        if roll(2) == 0, let child = pick(session.children) {
            request = TerminateRequest(childUniqueID: child.uniqueID)
            terminated.insert(child.inboundSPI)
        }
        if world.nodes.allSatisfy({ $0?.isOwner == true }) { world.allowLoss("an operator ended something at one of two owners") }
        world.trace("terminate \(request.childUniqueID.map { "child \($0)" } ?? "session \(session.uniqueID)") on node \(index)")
        tokens.append(world.request(index, .terminate(request)))
    }

    // MARK: - Disks

    private func cutPowerOrFillDisk(_ what: Int) {
        guard what > 0 else {
            let index = roll(2)
            world.disks[index]?.isFull.toggle()
            return world.trace("node \(index)'s disk is \(world.disks[index]?.isFull == true ? "full" : "not full any more")")
        }
        world.trace("the power fails")
        for index in [0, 1] where world.isAlive(index) { world.kill(index) }
        // They do not come back at the same time, and sometimes only one of them.
        let first = roll(2)
        for index in [first, 1 - first] where roll(4) > 0 {
            world.run(until: world.now + UInt64(roll(400_000_000)))
            start(index)
        }
    }

    // MARK: - Wires

    private func resetLink() {
        guard world.wires.ends[0] || world.wires.ends[1] else { return }
        world.trace("the link is reset")
        world.closeLink(reason: "reset", slower: (roll(2), UInt64(roll(50_000_000))))
    }

    private func cut() {
        world.noteDisturbance()
        let wires = world.wires
        let paths = (0..<wires.paths).flatMap { path in [0, 1].map { Wires.Direction.path(path, from: $0) } }
        switch roll(6) {
        case 0: world.cut()
        case 1: world.cutLink()
        case 2: world.wires.lost.formUnion(paths)
        case 3: if let one = pick(paths) { world.wires.lost.insert(one) }
        case 4: world.wires.lost.insert(.link(from: roll(2)))
        default:
            if let one = pick(wires.lost.sorted { "\($0)" < "\($1)" }) {
                world.wires.lost.remove(one)
                if case .link = one, !world.wires.linkIsCut { world.closeLink(reason: "timed out") }
            }
        }
        world.trace("lost are now: \(world.wires.lost.map { "\($0)" }.sorted())")
    }

    // MARK: - Processes and clocks

    private func freezeOrWake() {
        if let index = [0, 1].first(where: { world.frozen[$0] != nil }) {
            world.trace("node \(index) runs again")
            return world.wake(index)
        }
        guard let index = pick([0, 1].filter(world.isAlive)) else { return }
        world.trace("node \(index) does not run")
        world.noteDisturbance()
        world.freeze(index)
    }

    /// The time of day is set, by up to a day.
    private func jump() {
        let index = roll(2)
        world.clocks[index].wallOffset = Int64(roll(172_800_000)) - 86_400_000
        world.trace("node \(index)'s time of day is off by \(world.clocks[index].wallOffset) ms")
    }

    // MARK: - The network towards the end-users

    private func weather() {
        guard roll(3) > 0 else {
            world.network = ClientNetwork()
            world.roads = [:]
            return world.trace("the end-users' network is perfect")
        }
        var network = ClientNetwork()
        network.loses = [0, 10, 50][roll(3)]
        network.duplicates = [0, 20, 200][roll(3)]
        network.corrupts = [0, 10, 50][roll(3)]
        network.jitterMax = [0, 2_000_000, 40_000_000][roll(3)]
        network.isCut = roll(8) == 0
        if network.isCut { world.allowLoss("the end-users' network was cut") }
        if roll(2) == 0, let user = pick(world.users) {
            let isInward = roll(2) == 0
            world.roads[Road(address: user.address, isInward: isInward)] = network
            world.trace("the way \(isInward ? "from" : "to") end-user \(user.number): \(network)")
        } else {
            world.network = network
            world.trace("the end-users' network: \(network)")
        }
    }

    /// The data planes are slow, or have no room.
    private func plane() {
        world.planeDelay = (chance: [0, 20, 300][roll(3)], max: [1_000_000, 20_000_000, 300_000_000][roll(3)])
        world.planeFailures = [0, 0, 50, 300][roll(4)]
        world.trace("the data planes: \(world.planeDelay), \(world.planeFailures) of 1000 SAs refused")
    }

    /// Octets from anywhere, at whoever has the address.
    private func garbage() {
        let bytes = (0..<roll(200)).map { _ in UInt8(roll(256)) }
        world.trace("\(bytes.count) random octets come in")
        let remote = Endpoint(World.client.address.advanced(by: UInt64(roll(6)))!, 500)
        let target = world.addressee
        world.arrive(Datagram(local: Endpoint(World.vip, 500), remote: remote, bytes: bytes))
        if world.options.broken == .fatalInput, let target { world.freeze(target) }
    }

    // MARK: - End-users

    private func addUser() {
        let user = World.EndUser(nextUser, in: world)
        nextUser += 1
        world.trace("end-user \(user.number) connects")
        world.add(user)
        world.act(user) { $0.start(context: $1) }
    }

    private func addOrRemoveUser() {
        if nextUser < 6 { return addUser() }
        guard let user = pick(world.users) else { return }
        world.trace("end-user \(user.number) leaves, or comes back")
        if user.isEstablished, roll(2) == 0 {
            user.isLeaving = true
            world.act(user) { $0.delete(context: $1) }
        } else {
            let again = world.add(World.EndUser(user.number, in: world))
            world.act(again) { $0.start(context: $1) }
        }
    }

    private func userAsks() {
        guard let user = pick(world.users.filter(\.isEstablished)), let child = pick(user.initiator.children) else { return }
        let action = ["liveness", "rekey of the IKE SA", "rekey", "rekey with PFS", "another child", "deletion of a child"][roll(6)]
        world.trace("end-user \(user.number): \(action)")
        world.act(user) { initiator, context in
            switch action {
            case "liveness": initiator.liveness(context: context)
            case "rekey of the IKE SA": initiator.rekeyIKE(context: context)
            case "rekey": initiator.rekeyChild(inboundSPI: child.inboundSPI, context: context)
            case "rekey with PFS": initiator.rekeyChild(inboundSPI: child.inboundSPI, group: .curve25519, context: context)
            case "another child": initiator.children.count < 4 ? initiator.addChild(context: context) : []
            default: initiator.children.count > 1 ? initiator.deleteChild(inboundSPI: child.inboundSPI, context: context) : []
            }
        }
    }

    // MARK: - Traffic

    /// From whoever sends, to everybody.
    private func traffic() {
        for user in world.users {
            for child in user.initiator.children where !child.isRekeyed {
                for index in [0, 1] { world.sendESP(inboundSPI: child.outboundSPI, from: index) }
            }
        }
    }

    /// A node has sent nearly all of a lease, and its peer has sent something too.
    private func counters() {
        guard let index = pick([0, 1].filter(world.isAlive)),
            let (spi, sa) = pick(world.planes[index].sas.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }), sa.limit >= sa.next
        else { return }
        // In this short time a node that is cut off does not use up a whole slice.
        let isBusy = roll(3) == 0 && world.planes[index].gate == .open && world.planes[1 - index].gate != .open && world.wires.areWhole
        let next = isBusy ? max(sa.next, sa.limit - min(sa.limit, UInt64(1_100_000 + roll(2_000_000)))) : sa.next
        if isBusy { world.trace("node \(index) stands at \(next) of \(String(spi, radix: 16))") }
        world.report(spi, next: next, top: sa.top + UInt64(roll(1000)), index: index)
    }
}

// MARK: - Peace

extension Swarm {
    /// All wires whole, all nodes up, and time: then nothing may be left of what was.
    private func makePeace() {
        world.trace("peace")
        world.wires.latency = 200_000
        world.network = ClientNetwork()
        world.roads = [:]
        world.planeDelay = (0, 0)
        world.planeFailures = 0
        world.dyingAfter = [nil, nil]
        if world.options.broken != .fatalInput { [0, 1].forEach(world.wake) }
        for index in [0, 1] { world.disks[index]?.isFull = false }
        world.heal()
        restart()
        world.run(for: 6_000)
        // What was refused again and again is tried again later and later.
        for _ in 0..<70 where world.nodes.contains(where: { $0?.isRepairing == true }) { world.run(for: 1_000) }
        settle()
        checkPair()
        for user in world.users.sorted(by: { $0.number < $1.number }) where !world.checks.hasFailed { checkUser(user) }
        settle()
        checkPair()
        checkAnswers()
    }

    /// What is on its way arrives.
    private func settle() {
        for _ in 0..<100 where !world.nodes.contains(where: { $0?.sender.isInStep == true && $0?.isOwner == true }) { world.run(for: 1) }
    }

    private func checkPair() {
        let owners = [0, 1].filter { world.nodes[$0]?.isOwner == true }
        guard let active = owners.first, let node = world.nodes[active], let standby = world.nodes[1 - active] else {
            return world.expect(false, "nobody is active")
        }
        world.expect(owners.count == 1 && standby.roles.role == .standby, "roles are \([0, 1].map { world.role($0) })")
        world.expect(node.sender.isInStep, "the pair is \(node.sender.pairState), lag \(node.sender.lag)")
        world.expect(standby.receiver.isInStep, "the standby is not in step")
        world.checkTables(node, active)
        world.expect(node.isAtRest && standby.isAtRest, "something still waits")
        world.expect(world.planes[active].gate == .open && world.planes[1 - active].gate == .closed, "the gates are not as the roles")
        world.expect(world.holdsAddress[active] && !world.holdsAddress[1 - active], "the address is not where the owner is")
        world.expect(world.addressee == active, "packets for the address go to the other node")
        for index in [0, 1] { checkNumbers(world.nodes[index]!, index) }
    }

    /// Each data plane has the SAs of the table, and may send what the node's lease allows.
    private func checkNumbers(_ node: Node, _ index: Int) {
        let children = node.table.sessions.values.flatMap(\.children)
        world.expect(Set(world.planes[index].sas.keys) == Set(children.map(\.inboundSPI)), "node \(index) has other SAs than its table")
        for child in children {
            guard let sa = world.planes[index].sas[child.inboundSPI], let session = node.table.session(inboundSPI: child.inboundSPI) else {
                continue
            }
            let numbers = node.numbers(of: child, in: session)
            let text = "node \(index), \(String(child.inboundSPI, radix: 16)): \(sa.next)...\(sa.limit) where \(numbers) are leased"
            world.expect(sa.limit == numbers.limit && sa.next >= numbers.next, text)
        }
    }

    private func checkUser(_ user: World.EndUser) {
        var user = user
        if user.initiator.phase == .closed { return }
        if !isServed(user) {
            // Whoever was between IKE_SA_INIT and IKE_AUTH when the owner changed begins anew; all others notice nothing.
            guard world.checks.lossReason != nil || user.initiator.phase != .established || waitsForAFarewell(user) else {
                return world.expect(
                    false,
                    "end-user \(user.number) is \(user.initiator.phase) and is not served (\(describe(user))), though nothing was lost")
            }
            user = world.add(World.EndUser(user.number, in: world))
            world.connect(user)
            world.expect(isServed(user), "end-user \(user.number) cannot even connect anew")
        }
        guard let active = [0, 1].first(where: { world.nodes[$0]?.isOwner == true }) else { return }
        for child in user.initiator.children where !child.isRekeyed && !terminated.contains(child.outboundSPI) {
            let isSent = world.sendESP(inboundSPI: child.outboundSPI, from: active)
            // Without ESN a dozen restarts from disk are all that fit into one SA (`Docs/state.md`).
            let isUsedUp = world.planes[active].sas[child.outboundSPI].map { $0.limit <= UInt64(UInt32.max) && $0.next > $0.limit } ?? false
            world.expect(
                isSent || isUsedUp && world.options.keepsState,
                "node \(active) cannot send to end-user \(user.number) on \(String(child.outboundSPI, radix: 16))")
        }
    }

    /// A liveness exchange succeeds, and both sides have the same CHILD SAs; but for those that we deleted, which this simple client
    /// learns of too late if its request for them is still unanswered (RFC 7296 §2.25.1).
    private func isServed(_ user: World.EndUser) -> Bool {
        guard user.isEstablished else { return false }
        world.act(user) { $0.liveness(context: $1) }
        for _ in 0..<20 where !user.initiator.isQuiet { world.run(for: 100) }
        guard user.isEstablished, user.initiator.isQuiet, user.initiator.lastResult == .succeeded,
            let active = world.nodes.first(where: { $0?.isOwner == true }) ?? nil,
            let session = user.initiator.ikeSA.flatMap({ active.table.session(localSPI: $0.remoteSPI) })
        else { return false }
        let (ours, theirs) = (Set(session.children.map(\.inboundSPI)), Set(user.initiator.children.map(\.outboundSPI)))
        guard theirs.subtracting(ours).isSubset(of: terminated) else { return false }
        return ours.subtracting(theirs).isSubset(of: terminated)
    }

    /// It asks again for the end of an IKE SA that has ended here. The answer to that is in no table, so that only the node that
    /// died knew it; a client forgets the IKE SA after its retransmissions.
    private func waitsForAFarewell(_ user: World.EndUser) -> Bool {
        guard let asked = user.isLeaving ? user.initiator.ikeSA : user.initiator.rekeyedIKESA,
            let table = world.nodes.first(where: { $0?.isOwner == true })??.table
        else { return false }
        return table.session(localSPI: asked.remoteSPI) == nil
    }

    private func describe(_ user: World.EndUser) -> String {
        let table = world.nodes.first { $0?.isOwner == true }??.table
        let session = user.initiator.ikeSA.flatMap { table?.session(localSPI: $0.remoteSPI) }
        return "quiet \(user.initiator.isQuiet), \(user.initiator.lastResult.map { "\($0)" } ?? "no result"), its SAs "
            + "\(user.initiator.children.map { String($0.outboundSPI, radix: 16) }), ours "
            + "\(session?.children.map { String($0.inboundSPI, radix: 16) } ?? [])"
    }

    /// Every operator whose node lived on was answered; one who ends what its peer knows nothing of, when the last repetition was in vain.
    private func checkAnswers() {
        for _ in 0..<30 where tokens.contains(where: { world.responses[$0] == nil && !world.diedWaiting.contains($0) }) {
            world.run(for: 1_000)
        }
        for token in tokens where world.responses[token] == nil {
            world.expect(world.diedWaiting.contains(token), "request \(token.rawValue) of an operator was never answered")
        }
    }
}

/// Where a world leaves what it found.
private final class FailureBox {
    var text: String?
}
