import Control
import Cryptography
import IKE
import Node
import Pair
import Session
import Testing

@testable import Simulator

/// Both nodes were active, each for whom it reached. Node 1 has taken over, so that its epoch is the higher one: node 0 hands over what it
/// did, and node 1 goes on with everything.
@Suite struct MergeTests {
    /// IKE_AUTH: nobody may have to do that again.
    private static let authentication: UInt8 = 35

    /// A pair that is split, with so many end-users from before.
    private static func split(users count: Int = 1, _ options: World.Options = World.Options()) -> (World, [World.EndUser]) {
        let world = World(options)
        world.startPair()
        let users = (0..<count).map { World.EndUser($0, in: world) }
        users.forEach(world.connect)
        world.run(for: 50)
        world.cut()
        world.run(for: 300)
        #expect(world.role(0) == .active && world.role(1) == .active)
        return (world, users)
    }

    /// What the end-user asks goes to this node alone.
    private static func talk(
        to node: Int, _ world: World, _ user: World.EndUser, _ ask: (inout IKEInitiator, IKEContext) -> [Datagram]
    ) {
        world.pinned = node
        world.act(user, ask)
        world.settle(user)
        world.pinned = nil
    }

    private static func connect(to node: Int, _ world: World, number: Int) -> World.EndUser {
        let user = World.EndUser(number, in: world)
        world.pinned = node
        world.connect(user)
        world.pinned = nil
        return user
    }

    private static func meet(_ world: World, for milliseconds: UInt64 = 500) {
        world.heal()
        world.run(for: milliseconds)
    }

    private static func authentications(_ world: World) -> Int { world.checks.ike.requests[authentication]?.count ?? 0 }

    /// One owner, both tables equal, and every end-user served with the SAs it has.
    private static func expectAllServed(_ world: World, _ users: [World.EndUser], by owner: Int = 1) {
        #expect(world.role(owner) == .active && world.role(1 - owner) == .standby)
        #expect(world.pairState(owner) == "paired")
        #expect(world.nodes[0]?.table.sessions == world.nodes[1]?.table.sessions)
        let before = authentications(world)
        for user in users {
            let spis = user.initiator.ikeSA?.spis
            world.act(user) { $0.liveness(context: $1) }
            world.settle(user)
            #expect(user.initiator.lastResult == .succeeded)
            #expect(user.isEstablished && user.initiator.ikeSA?.spis == spis)
            let session = user.initiator.ikeSA.flatMap { world.nodes[owner]?.table.session(localSPI: $0.remoteSPI) }
            #expect(Set(session?.children.map(\.inboundSPI) ?? []) == Set(user.initiator.children.map(\.outboundSPI)))
            for child in user.initiator.children where !child.isRekeyed {
                #expect(world.sendESP(inboundSPI: child.outboundSPI, from: owner))
            }
        }
        #expect(authentications(world) == before)
    }

    private static func counter(_ world: World, _ name: String, of node: Int = 1) -> UInt64 { world.status(node).counters[name] ?? 0 }

    @Test func sessionsMadeOnBothSides_whenTheyMeet_goOn() {
        let (world, users) = Self.split()
        let (there, here) = (Self.connect(to: 0, world, number: 1), Self.connect(to: 1, world, number: 2))
        #expect(world.nodes[0]?.table.count == 2 && world.nodes[1]?.table.count == 2)
        Self.meet(world)
        #expect(world.nodes[1]?.table.count == 3)
        #expect(Self.counter(world, "sessions_merged_new") == 1)
        Self.expectAllServed(world, users + [there, here])
        world.kill(1)
        world.run(for: 200)
        for user in users + [there, here] { #expect(world.sendESP(inboundSPI: user.inboundSPIAtGateway, from: 0)) }
    }

    @Test func clientThatSpokeToTheLowerEpochLast_keepsWhatItRekeyedThere() {
        let (world, users) = Self.split()
        let user = users[0]
        Self.talk(to: 0, world, user) { $0.rekeyIKE(context: $1) }
        let child = user.initiator.children[0].inboundSPI
        Self.talk(to: 0, world, user) { $0.rekeyChild(inboundSPI: child, group: .curve25519, context: $1) }
        Self.talk(to: 0, world, user) { $0.addChild(context: $1) }
        let spi = user.inboundSPIAtGateway
        for _ in 0..<5 { #expect(world.sendESP(inboundSPI: spi, from: 0)) }
        Self.meet(world)
        #expect(Self.counter(world, "sessions_merged_theirs") == 1)
        Self.expectAllServed(world, users)
    }

    /// It is taken in by the owner before its client's new state arrives: that must not count as the client's last word.
    @Test func packetsOfAnOldSAAtTheOwner_doNotTakeBackARekey() {
        let (world, users) = Self.split()
        let user = users[0]
        let old = user.inboundSPIAtGateway
        Self.talk(to: 0, world, user) { $0.rekeyIKE(context: $1) }
        world.run(for: 300)
        world.report(old, next: 1, top: 500, index: 1)
        Self.meet(world)
        Self.expectAllServed(world, users)
    }

    @Test func clientThatSpokeToTheHigherEpochLast_keepsWhatItRekeyedThere() {
        let (world, users) = Self.split()
        Self.talk(to: 0, world, users[0]) { $0.liveness(context: $1) }
        // What it asks next is beyond what the other one knows: a client that moved in between is followed only after a further exchange.
        Self.meet(world)
        Self.expectAllServed(world, users)
        let (second, others) = Self.split()
        Self.talk(to: 1, second, others[0]) { $0.rekeyIKE(context: $1) }
        Self.meet(second)
        #expect(Self.counter(second, "sessions_merged_theirs") == 0)
        Self.expectAllServed(second, others)
    }

    @Test func childrenMadeOnOneSideAndDeletedOnTheOther_areAsTheClientHasThem() {
        let (world, users) = Self.split()
        let user = users[0]
        let first = user.initiator.children[0].inboundSPI
        Self.talk(to: 0, world, user) { $0.addChild(context: $1) }
        Self.talk(to: 0, world, user) { $0.deleteChild(inboundSPI: first, context: $1) }
        Self.meet(world)
        #expect(world.nodes[1]?.table.sessions.values.first?.children.count == 1)
        Self.expectAllServed(world, users)
    }

    // MARK: - Endings

    @Test func sessionDeletedAtTheLowerEpoch_isGone() {
        let (world, users) = Self.split(users: 2)
        Self.talk(to: 0, world, users[0]) { $0.delete(context: $1) }
        Self.meet(world)
        #expect(world.nodes[1]?.table.count == 1)
        #expect(Self.counter(world, "sessions_merged_ended") == 1)
        Self.expectAllServed(world, [users[1]])
    }

    @Test func sessionDeletedAtTheHigherEpoch_doesNotComeBack() {
        let (world, users) = Self.split(users: 2)
        Self.talk(to: 0, world, users[1]) { $0.liveness(context: $1) }
        world.report(users[0].inboundSPIAtGateway, next: 1, top: 5, index: 0)
        world.run(for: 300)
        Self.talk(to: 1, world, users[0]) { $0.delete(context: $1) }
        Self.meet(world)
        #expect(world.nodes[1]?.table.count == 1)
        Self.expectAllServed(world, [users[1]])
    }

    /// Who answers to the one does not answer to the other: that is nobody's wish, and ends nothing.
    @Test func clientThatOneNodeFoundDead_livesAtTheOther() {
        var options = World.Options()
        options.livenessDelay = .milliseconds(400)
        options.retransmitTimeout = .milliseconds(20)
        let (world, users) = Self.split(users: 1, options)
        world.pinned = 0
        for _ in 0..<200 where world.nodes[1]?.table.count == 1 {
            world.run(for: 100)
            world.act(users[0]) { $0.liveness(context: $1) }
            world.settle(users[0])
        }
        #expect(world.nodes[1]?.table.count == 0 && world.nodes[0]?.table.count == 1)
        Self.talk(to: 0, world, users[0]) { $0.rekeyIKE(context: $1) }
        Self.meet(world, for: 200)
        #expect(Self.counter(world, "sessions_merged_new") == 1)
        Self.expectAllServed(world, users)
    }

    /// The node that hands over used message IDs before it found the client dead: the client takes no lower ones from the owner.
    @Test func clientThatTheLowerEpochFoundDead_isAskedUnderHigherIDs() {
        let (world, users) = Self.splitWithLiveness()
        world.pinned = 1
        let known = world.nodes[1]?.table.sessions.values.first?.ikeSA.nextSendID ?? 0
        Self.waitUntilFoundDead(world, users[0])
        #expect(world.nodes[1]?.table.sessions.values.first?.ikeSA.nextSendID == known)
        Self.meet(world)
        #expect(world.nodes[1]?.table.sessions.values.first?.ikeSA.nextSendID ?? 0 > known)
        Self.expectAllServed(world, users)
    }

    @Test func clientThatTheLowerEpochAloneKnewAndFoundDead_goesOnAtTheOwner() {
        let (world, users) = Self.splitWithLiveness()
        let other = Self.connect(to: 0, world, number: 7)
        world.pinned = 1
        Self.waitUntilFoundDead(world, users[0])
        #expect(other.isEstablished && world.nodes[1]?.table.count == 1)
        Self.meet(world)
        #expect(Self.counter(world, "sessions_merged_new") == 1)
        Self.expectAllServed(world, [users[0], other])
    }

    private static func splitWithLiveness() -> (World, [World.EndUser]) {
        var options = World.Options()
        options.livenessDelay = .milliseconds(400)
        options.retransmitTimeout = .milliseconds(20)
        return split(users: 1, options)
    }

    /// By node 0, while the client speaks to the other node.
    private static func waitUntilFoundDead(_ world: World, _ user: World.EndUser) {
        for _ in 0..<200 where world.nodes[0]?.table.count ?? 0 > 0 {
            world.act(user) { $0.liveness(context: $1) }
            world.run(for: 100)
        }
        world.settle(user)
        world.pinned = nil
        #expect(world.nodes[0]?.table.count == 0)
    }

    /// It has nothing to tell of, and announced itself all the same: whoever met it comes back to the owner.
    @Test func nodeThatStartedWithNothingWhileCutOff_drawsNobodyAway() {
        for phase in UInt64(0)..<10 {
            let (world, user) = TakeoverTests.connected()
            world.kill(1)
            world.run(for: 300)
            world.cut()
            world.start(1)
            world.run(for: 6_100 + 5 * phase)
            #expect(world.role(1) == .active && world.addressee == 1)
            world.heal()
            world.run(for: 300)
            #expect(world.role(0) == .active && world.addressee == 0)
            Self.expectAllServed(world, [user], by: 0)
        }
    }

    /// What it was told is not heard by the owner, and says that the client lives: nobody is given up for it.
    @Test func clientWhoseAnswersWentToANodeThatStartedWithNothing_isAskedAnew() {
        var options = World.Options()
        options.livenessDelay = .milliseconds(400)
        options.retransmitTimeout = .milliseconds(150)
        let (world, user) = TakeoverTests.connected(options)
        world.kill(1)
        world.run(for: 300)
        world.cut()
        world.start(1)
        world.pinned = 1
        // All tries but the last have gone by.
        world.run(for: 5_000)
        let session = world.nodes[0]?.table.withPendingRequest
        #expect(world.role(0) == .active && world.role(1) == .active && session?.count == 1)
        world.pinned = nil
        Self.meet(world, for: 4_000)
        #expect(world.nodes[0].map { Set($0.table.sessions.keys) } == session)
        Self.expectAllServed(world, [user], by: 0)
    }

    // MARK: - Conflicts

    @Test func oneClientWithASessionOnEachSide_keepsTheOneItSpokeToLast() {
        for last in [0, 1] {
            var options = World.Options()
            options.unique = .replace
            let (world, _) = Self.split(users: 0, options)
            // Not the same client to us: each begins anew, as a machine that was restarted.
            let first = Self.connect(to: 1 - last, world, number: 3)
            world.run(for: 100)
            let second = Self.connect(to: last, world, number: 3)
            #expect(first.initiator.ikeSA?.spis != second.initiator.ikeSA?.spis)
            Self.meet(world)
            #expect(world.nodes[1]?.table.count == 1)
            Self.expectAllServed(world, [second])
        }
    }

    // MARK: - Interruptions

    @Test func manySessions_comeInPages() {
        let (world, users) = Self.split(users: 3)
        let made = (10..<160).map { Self.connect(to: 0, world, number: $0) }
        var pages = 0
        world.onLink = { frame, _ in
            if case .mergePage(let page) = frame {
                pages += 1
                #expect(page.sessions.count <= MergePage.sessionsMax)
            }
            return frame
        }
        Self.meet(world)
        #expect(pages >= 3)
        #expect(Self.counter(world, "sessions_merge_sent", of: 0) >= 150)
        #expect(Self.counter(world, "sessions_merged_new") == 150)
        Self.expectAllServed(world, users + made)
    }

    @Test func linkThatBreaksInTheMiddle_isGoneOnWith() {
        for breakAt in 1...4 {
            let (world, users) = Self.split(users: 2)
            let made = (10..<160).map { Self.connect(to: 0, world, number: $0) }
            var pages = 0
            world.onLink = { frame, _ in
                if case .mergePage = frame {
                    pages += 1
                    if pages == breakAt { world.after(0) { $0.closeLink(reason: "test") } }
                }
                return frame
            }
            Self.meet(world, for: 1000)
            #expect(Self.counter(world, "sessions_merge_refused") == 0)
            Self.expectAllServed(world, users + made)
        }
    }

    /// It had nothing yet that the other one has lost: that one goes on with all of its own.
    @Test func ownerThatDiesInTheMiddle_leavesEverythingToTheOneThatGives() {
        for dieAt in 1...3 {
            let (world, users) = Self.split(users: 2)
            let made = (10..<160).map { Self.connect(to: 0, world, number: $0) }
            Self.talk(to: 0, world, users[0]) { $0.rekeyIKE(context: $1) }
            var pages = 0
            world.onLink = { frame, _ in
                if case .mergePage = frame {
                    pages += 1
                    if pages == dieAt { world.after(300_000) { $0.kill(1) } }
                }
                return frame
            }
            Self.meet(world)
            #expect(world.role(0) == .active)
            world.start(1)
            world.run(for: 1500)
            Self.expectAllServed(world, users + made, by: 0)
        }
    }

    @Test func splitInTheMiddle_losesNothing() {
        let (world, users) = Self.split(users: 2)
        let made = (10..<160).map { Self.connect(to: 0, world, number: $0) }
        let here = (160..<170).map { Self.connect(to: 1, world, number: $0) }
        var pages = 0
        world.onLink = { frame, _ in
            if case .mergePage = frame {
                pages += 1
                if pages == 2 { world.after(0) { $0.cut() } }
            }
            return frame
        }
        Self.meet(world)
        #expect(world.role(0) == .active && world.role(1) == .active)
        Self.talk(to: 0, world, made[0]) { $0.rekeyIKE(context: $1) }
        Self.talk(to: 1, world, here[0]) { $0.rekeyIKE(context: $1) }
        Self.meet(world, for: 1000)
        let owner = world.role(0) == .active ? 0 : 1
        Self.expectAllServed(world, users + made + here, by: owner)
    }

    @Test func ownerThatStartedWithNothing_getsAllFromTheOther() {
        let (world, users) = Self.split(users: 2)
        // Taken for dead, and alone since: its epoch goes up with every beginning, until it is the higher one.
        world.pinned = 0
        Self.talk(to: 0, world, users[0]) { $0.liveness(context: $1) }
        world.kill(1)
        world.start(1)
        world.run(for: 3000)
        Self.meet(world)
        let owner = world.role(0) == .active ? 0 : 1
        Self.expectAllServed(world, users, by: owner)
    }

    /// A node that knows nothing of merging says nothing of it and hears nothing of it: it is filled as ever.
    @Test func peerOfAnEarlierVersion_isFilledAtOnce() {
        let (world, users) = Self.split()
        _ = Self.connect(to: 0, world, number: 1)
        world.onLink = { frame, _ in
            if case .mergeRequest = frame { Issue.record("asked for a merge") }
            guard case .hello(var hello) = frame else { return frame }
            (hello.takesMerge, hello.owesMerge) = (false, false)
            return .hello(hello)
        }
        Self.meet(world)
        #expect(world.pairState(1) == "paired")
        #expect(world.nodes[1]?.table.count == 1)
        #expect(world.sendESP(inboundSPI: users[0].inboundSPIAtGateway, from: 1))
    }

    /// Who says that it owes something and never sends it costs the pair a while, and not for ever.
    @Test func peerThatSendsNothing_isFilledInTheEnd() {
        let (world, users) = Self.split()
        world.onLink = { frame, _ in if case .mergePage = frame { nil } else if case .mergeEnd = frame { nil } else { frame } }
        Self.meet(world, for: 2000)
        #expect(world.role(1) == .active)
        #expect(world.pairState(1) != "paired")
        world.run(for: 60_000)
        #expect(world.pairState(1) == "paired")
        #expect(world.sendESP(inboundSPI: users[0].inboundSPIAtGateway, from: 1))
    }

    @Test func status_duringAMerge_saysSo() {
        let (world, _) = Self.split()
        let made = (10..<160).map { Self.connect(to: 0, world, number: $0) }
        var states: Set<String> = []
        world.onLink = { frame, _ in
            if case .mergePageTaken = frame { world.after(0) { states.formUnion([$0.status(0).pairState, $0.status(1).pairState]) } }
            return frame
        }
        Self.meet(world)
        #expect(states.contains("merging"))
        #expect(Self.counter(world, "merges") == 1)
        Self.expectAllServed(world, made)
    }

    // MARK: - Law 3

    /// Numbers that the one used alone, and that the other had not heard of, are left behind.
    @Test func numbersOfBoth_areLeftBehind() {
        let (world, users) = Self.split()
        let spi = users[0].inboundSPIAtGateway
        for _ in 0..<20 {
            let limit = world.planes[0].sas[spi]!.limit
            world.planes[0].sas[spi]?.next = limit
            world.report(spi, next: limit, index: 0)
            world.run(for: 2200)
            #expect(world.sendESP(inboundSPI: spi, from: 0))
        }
        let top = world.checks.userTop[spi]!
        Self.meet(world)
        #expect(world.planes[1].sas[spi]!.next > top)
        Self.expectAllServed(world, users)
    }

    /// The windows of both: what one of them took is not taken again by the other.
    @Test func packetsThatOneNodeTook_areOldAtTheOther() {
        let (world, users) = Self.split()
        let spi = users[0].inboundSPIAtGateway
        world.report(spi, next: 1, top: 4711, index: 0)
        Self.meet(world)
        #expect(world.planes[1].sas[spi]?.top == 4711)
        Self.expectAllServed(world, users)
    }
}
