import Control
import NIOCore
import Node
import Pair
import Session

/// The witness: one key in an etcd, there while somebody is alone and claims the pair (Docs/splitbrain.md).
///
/// A lease is kept alive all the time, so that a claim is one transaction. What a claim is worth counts from the moment at which the
/// last renewal that was answered was sent. Belongs to the node's event loop.
final class WitnessClient {
    private let settings: WitnessSettings
    /// What a claim says of us: two nodes of one name are two.
    private let holder: String
    private let gateway: EtcdGateway
    private let eventLoop: any EventLoop
    private let log: (LogLine) -> Void
    private var lease: (id: String, until: NIODeadline)?
    /// Our claim as it was last written; `nil`: none, or not known.
    private var revision: String?
    private var mustRelease = false
    private var isBusy = false
    private var waiting: [() -> Void] = []
    private var tick: Scheduled<Void>?
    private var isStopped = false
    private var isReached: Bool?
    private(set) var counters: [String: UInt64] = [:]

    /// - Parameters:
    ///   - id: the node's, which a claim says.
    ///   - name: beside it, for people.
    /// - Throws: when certificates or the key are of no use.
    init(_ settings: WitnessSettings, id: NodeID, name: String, eventLoop: any EventLoop, log: @escaping (LogLine) -> Void) throws {
        self.settings = settings
        holder = "\(id.rawValue) \(name)"
        self.eventLoop = eventLoop
        self.log = log
        gateway = try EtcdGateway(settings, eventLoop: eventLoop)
    }

    func start() { perform { self.renew() } }

    func stop() {
        isStopped = true
        tick?.cancel()
        gateway.stop()
    }

    private func count(_ name: String) { counters[name, default: 0] += 1 }

    // MARK: One after the other

    /// What is asked of the witness keeps its order: a claim never overtakes the release before it.
    private func perform(_ work: @escaping () -> Void) {
        guard !isStopped else { return }
        waiting.append(work)
        startNext()
    }

    private func startNext() {
        guard !isBusy, !waiting.isEmpty else { return }
        isBusy = true
        waiting.removeFirst()()
    }

    private func done() {
        isBusy = false
        startNext()
    }

    private func post(_ path: String, _ body: JSON, _ completion: @escaping EtcdGateway.Completion) {
        gateway.post(path, body) { result in
            switch result {
            case .success: self.reached(true, "")
            case .failure(.unreachable(let reason)): self.reached(false, reason)
            // A lease that has run out is not found, which is an answer; that we may not ask is none.
            case .failure(.refused(404, _)): self.reached(true, "")
            case .failure(let failure): self.reached(false, failure.text)
            }
            completion(result)
        }
    }

    private func reached(_ now: Bool, _ reason: String) {
        if !now { count("unreachable") }
        guard isReached != now else { return }
        isReached = now
        log(now ? LogLine(.info, "the witness answers") : LogLine(.warning, "the witness is not reached", [.init("reason", reason)]))
    }

    // MARK: The lease

    private func renew() {
        schedule()
        withLease { _ in
            guard self.mustRelease else { return self.done() }
            self.removeClaim()
        }
    }

    private func schedule() {
        tick?.cancel()
        guard !isStopped else { return }
        tick = eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(Int64(settings.ttlSeconds) * 250)) {
            self.perform { self.renew() }
        }
    }

    /// Renewed, or granted when there was none.
    private func withLease(_ then: @escaping (EtcdConnection.Failure?) -> Void) {
        let asked = NIODeadline.now()
        guard let known = lease else { return grant(then) }
        post("/v3/lease/keepalive", EtcdMessages.keepAlive(known.id)) { result in
            switch result {
            case .success(let answer):
                // One that has run out has no time left.
                guard let renewed = EtcdMessages.lease(answer), renewed.id == known.id else { return self.grant(then) }
                self.lease = (known.id, asked + .seconds(renewed.ttlSeconds))
                self.count("renewed")
                then(nil)
            case .failure(.refused): self.grant(then)
            case .failure(let failure): then(failure)
            }
        }
    }

    private func grant(_ then: @escaping (EtcdConnection.Failure?) -> Void) {
        lease = nil
        revision = nil
        let asked = NIODeadline.now()
        post("/v3/lease/grant", EtcdMessages.grant(ttlSeconds: settings.ttlSeconds)) { result in
            switch result {
            case .success(let answer):
                guard let granted = EtcdMessages.lease(answer) else { return then(.unreachable("it granted no lease")) }
                self.lease = (granted.id, asked + .seconds(granted.ttlSeconds))
                self.count("granted")
                then(nil)
            case .failure(let failure): then(failure)
            }
        }
    }

    // MARK: The claim

    /// - Parameter answer: called once, later.
    func claim(epoch: Epoch, _ answer: @escaping (ArbiterAnswer) -> Void) {
        if isBusy { gateway.hurry() }
        perform {
            self.count("claims")
            self.mustRelease = false
            func finish(_ result: ArbiterAnswer) {
                self.done()
                answer(result)
            }
            // A lease that is nearly over is of no use for what follows.
            guard let lease = self.lease, lease.until > .now() + .milliseconds(Int64(self.settings.ttlSeconds) * 500) else {
                return self.withLease { failure in
                    if let failure { return finish(.unanswered(reason: failure.text)) }
                    self.create(epoch, triesLeft: 2, finish)
                }
            }
            self.create(epoch, triesLeft: 2, finish)
        }
    }

    private func create(_ epoch: Epoch, triesLeft: Int, _ finish: @escaping (ArbiterAnswer) -> Void) {
        put(epoch, if: .isAbsent, triesLeft: triesLeft, finish)
    }

    private func put(
        _ epoch: Epoch, if condition: EtcdMessages.Condition, triesLeft: Int, _ finish: @escaping (ArbiterAnswer) -> Void
    ) {
        guard triesLeft > 0, let lease else { return finish(.unanswered(reason: "its lease is gone")) }
        post("/v3/kv/txn", EtcdMessages.put(settings.key, "\(epoch) \(holder)", lease: lease.id, if: condition)) { result in
            switch result {
            case .failure(.unreachable(let reason)): finish(.unanswered(reason: reason))
            case .failure(let failure):
                // The lease has run out behind our back.
                self.grant { problem in
                    if problem != nil { return finish(.unanswered(reason: failure.text)) }
                    self.put(epoch, if: condition, triesLeft: triesLeft - 1, finish)
                }
            case .success(let answer):
                guard let outcome = EtcdMessages.outcome(answer) else { return finish(.unanswered(reason: "its answer is not understood")) }
                if outcome.succeeded { return self.granted(outcome.revision, finish) }
                self.found(outcome.entry, epoch, triesLeft: triesLeft, finish)
            }
        }
    }

    private func granted(_ revision: String, _ finish: (ArbiterAnswer) -> Void) {
        self.revision = revision
        guard let lease else { return finish(.unanswered(reason: "its lease is gone")) }
        finish(.granted(until: Instant(nanoseconds: lease.until.uptimeNanoseconds)))
    }

    /// Somebody has a claim: we, as we know; we, without knowing what became of the request; a former life of this node; the other one.
    private func found(_ entry: EtcdMessages.Entry?, _ epoch: Epoch, triesLeft: Int, _ finish: @escaping (ArbiterAnswer) -> Void) {
        guard let entry else { return create(epoch, triesLeft: triesLeft - 1, finish) }
        let holder = entry.value.split(separator: " ", maxSplits: 1).last.map(String.init) ?? ""
        if entry.lease == lease?.id, entry.revision == revision { return granted(entry.revision, finish) }
        guard entry.lease == lease?.id || holder == self.holder else {
            revision = nil
            return finish(.refused(holder: holder.split(separator: " ", maxSplits: 1).last.map(String.init) ?? ""))
        }
        // Written anew: a release that is still under way then no longer fits.
        put(epoch, if: .modified(revision: entry.revision), triesLeft: triesLeft - 1, finish)
    }

    /// The claim goes, now or as soon as the witness is reached; with its lease in any case if this node dies.
    func release() {
        perform {
            self.mustRelease = true
            self.removeClaim()
        }
    }

    private func removeClaim() {
        post("/v3/kv/range", EtcdMessages.range(settings.key)) { result in
            guard case .success(let answer) = result else { return self.done() }
            guard let entry = EtcdMessages.entry(answer), entry.lease == self.lease?.id else {
                self.mustRelease = false
                self.revision = nil
                return self.done()
            }
            self.post("/v3/kv/txn", EtcdMessages.delete(self.settings.key, if: .modified(revision: entry.revision))) { result in
                if case .success = result { self.mustRelease = false }
                self.revision = nil
                self.count("released")
                self.done()
            }
        }
    }
}
