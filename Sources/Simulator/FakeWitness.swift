import Node
import Pair
import Session

/// A witness in virtual time: one claim with a lease, and for each node whether it is reached. Programs answer what they are told to.
struct FakeWitness {
    struct Claim: Equatable {
        var node: Int
        var epoch: Epoch
        /// World time.
        var until: UInt64
    }

    /// By the world's clock; nodes are told by theirs.
    var ttl: UInt64 = 3_000_000_000
    /// There and back.
    var latency: UInt64 = 2_000_000
    var isReached = [true, true]
    var isReachable = [true, true]
    var fencingWorks = true
    var fencingTime: UInt64 = 20_000_000
    private(set) var claim: Claim?
    /// Every claim that was granted anew, in order.
    private(set) var history: [Claim] = []
    /// Which nodes were fenced, in order.
    var fenced: [Int] = []

    mutating func take(epoch: Epoch, for node: Int, at now: UInt64) -> (until: UInt64?, holder: Int) {
        if let claim, claim.until > now, claim.node != node { return (nil, claim.node) }
        let isNew = claim?.node != node || (claim?.until ?? 0) <= now
        claim = Claim(node: node, epoch: epoch, until: now + ttl)
        if isNew { history.append(claim!) }
        return (now + ttl, node)
    }

    mutating func release(by node: Int) { if claim?.node == node { claim = nil } }
    mutating func forget() { claim = nil }
}

extension World {
    func arbitrate(_ question: ArbiterQuestion, number: QuestionNumber, by index: Int) {
        let boot = nodes[index]?.life
        func answer(after delay: UInt64, _ answer: ArbiterAnswer) {
            after(delay) { world in
                guard world.nodes[index]?.life == boot else { return }
                world.feed(index, .arbitration(number, answer))
            }
        }
        let half = witness.latency / 2
        switch question {
        case .check: answer(after: half, witness.isReachable[index] ? .reachable : .notReachable(reason: "exit status 1"))
        case .claim(let epoch):
            guard witness.isReached[index] else { return answer(after: half, .unanswered(reason: "refused")) }
            let asked = now
            after(half) { world in
                let taken = world.witness.take(epoch: epoch, for: index, at: world.now)
                // What the node may rely on counts from when it asked.
                let until = Instant(nanoseconds: world.time(of: index).instant.nanoseconds + world.witness.ttl - (world.now - asked))
                let answer: ArbiterAnswer = taken.until == nil ? .refused(holder: "sg\(taken.holder + 1)") : .granted(until: until)
                world.after(half) { world in
                    guard world.nodes[index]?.life == boot, world.witness.isReached[index] else { return }
                    world.feed(index, .arbitration(number, answer))
                }
            }
        case .release:
            guard witness.isReached[index] else { return }
            after(half) { $0.witness.release(by: index) }
        case .fence:
            let works = witness.fencingWorks
            after(witness.fencingTime) { world in
                if works {
                    world.witness.fenced.append(1 - index)
                    world.kill(1 - index)
                }
            }
            answer(after: witness.fencingTime + half, works ? .fenced : .notFenced(reason: "exit status 1"))
        }
    }
}
