import Control
import Cryptography
import Glibc
import IKE
import NIOCore
import Node
import Pair
import Session

/// Drives one node on one event loop: hands in what happens, carries out what the node wants, in its order, and wakes it for
/// its deadlines. Nothing that fails here ends the daemon: it is logged, counted, and the node decides.
///
/// Belongs to its event loop: created, called and calling there.
final class Runner {
    /// What the runner works with; made by `Daemon`.
    struct World {
        var dataPlane: any DataPlane
        var packets: PacketLoop
        var addresses: SharedAddresses
        var notifier: Notifier
        var log: LogSink
        var link: PairLink?
        var credentials: PairCredentials?
        var transfers: TransferLinks?
        var heartbeats: HeartbeatSockets?
        var control: ControlServer?
        var flows: FlowFollower?
        var watchman: GuardProcess?
        var arbiter: Arbiter?
        var state: StateStore?
    }

    /// How often the guard gets a sign of life: several within its least patience of 100 ms.
    static let beatInterval: TimeAmount = .milliseconds(20)
    /// Work in one go beyond this is worth a line: replies and heartbeats wait for it.
    static let busyMax: Duration = .milliseconds(30)
    /// How long datagrams are handled in one go: a fraction of the shortest heartbeat interval.
    static let turn: TimeAmount = .milliseconds(2)
    /// How long they wait then. Not by `execute`: an event loop runs what is executed on it, and what that executes, before it looks at a
    /// socket again, so that a flood would keep heartbeats, the pair's link and operators out as long as it lasts.
    static let pause: TimeAmount = .microseconds(100)
    /// Failures of one list of data plane commands that the node is told one by one.
    static let failuresToldMax = 8

    let eventLoop: any EventLoop
    var world: World
    private var node: Node
    private var urgent = InputQueue()
    private var datagrams = DatagramQueues()
    private var isDraining = false
    private var isWaitingForTurn = false
    /// The time spent on datagrams since the loop last looked at its sockets, or earlier.
    private var spent: TimeAmount = .zero
    private var isStopped = false
    private var armed: (at: Instant, number: UInt64, task: Scheduled<Void>)?
    /// Of the timer that counts: one that was replaced when it was about to run runs all the same.
    private var timerNumber: UInt64 = 0
    /// Before that the loop looks at its sockets.
    private var earliestWake = Instant(nanoseconds: 0)
    private var isWaking = false
    private var responders: [RequestToken: Responder] = [:]
    private var nextToken: UInt64 = 1
    private(set) var role = NodeRole.starting
    private var isPaired = false
    private var counters: [String: UInt64] = [:]
    private var limiters: [String: LogLimiter] = [:]
    /// What is said of the step under way. It is written after what the step does: a line costs two system calls, and somebody waits.
    private var lines: [LogLine] = []
    private var load = LoadMeter()
    /// Made when the first program is to be run.
    private var hooks: HookRunner?

    /// Who waits for an answer, and since when.
    private struct Responder {
        let respond: (ControlResponse) -> Void
        let asked: NIODeadline
    }

    init(configuration: NodeConfiguration, world: World, eventLoop: any EventLoop, random: RandomSource = .system) {
        eventLoop.preconditionInEventLoop()
        self.eventLoop = eventLoop
        self.world = world
        followsConnections = configuration.flowLimit != nil
        // Never 0, which no life of a daemon has.
        node = Node(configuration: configuration, boot: random.uint64() | 1, random: random, now: Runner.now())
    }

    static func now(_ instant: NIODeadline = .now()) -> Now {
        Now(instant: Instant(nanoseconds: instant.uptimeNanoseconds), wallMilliseconds: wallMilliseconds())
    }

    let followsConnections: Bool
    var isActiveWithReadyPeer: Bool { role == .active && isPaired }
    /// Programs are under way, or still to be run.
    var isRunningHooks: Bool { node.isRunningHooks }

    /// Starts the repeating work: signs of life for the guard and the service manager.
    func startTimers() {
        repeatEvery(Runner.beatInterval) { self.beat() }
        if let interval = world.notifier.watchdogInterval {
            repeatEvery(.nanoseconds(interval.inNanoseconds)) { self.world.notifier.watchdog() }
        }
    }

    /// Hands the load in from now on. The two files' worth of work is done in microseconds: `/proc` is memory.
    func startMeasuringLoad() {
        repeatEvery(.nanoseconds(OverloadConfiguration.sampleInterval.inNanoseconds)) {
            let plane = self.world.dataPlane.statistics()
            let text = (try? FileContents.read("/proc/stat", isSecret: false)).map { String(decoding: $0, as: UTF8.self) }
            let sample = self.load.sample(
                stat: text, packetCount: plane.inboundPackets &+ plane.outboundPackets, at: Runner.now().instant)
            self.submit(.load(sample))
        }
    }

    private func repeatEvery(_ interval: TimeAmount, _ work: @escaping () -> Void) {
        work()
        eventLoop.assumeIsolated().scheduleTask(in: interval) { self.repeatEvery(interval, work) }
    }

    private func beat() {
        let now = Instant(nanoseconds: NIODeadline.now().uptimeNanoseconds)
        world.watchman?.beat(isActiveWithReadyPeer ? .paired : .solo, now: now)
    }

    // MARK: Inputs

    func submit(_ input: Input) { submit([input]) }

    /// From now on nothing happens to the node any more: a daemon that has given everything up must not take it back because
    /// it no longer hears its peer.
    func stop() {
        isStopped = true
        armed?.task.cancel()
        armed = nil
        responders = [:]
    }

    /// Hands in what happened. Effects are carried out before it returns, unless it is called by one of them.
    ///
    /// IKE datagrams wait for everything else, so that a flood of them delays neither heartbeats nor the pair's link, and take
    /// turns with the loop's other work.
    ///
    /// - Parameter start: the time, of whoever has just looked at it.
    func submit(_ batch: [Input], at start: NIODeadline? = nil) {
        guard !isStopped else { return }
        for input in batch {
            guard case .datagram(let datagram) = input else {
                urgent.append(input)
                continue
            }
            if !datagrams.append(datagram) { count("ike_dropped") }
        }
        drain(at: start)
    }

    private func drain(at known: NIODeadline? = nil) {
        guard !isDraining else { return }
        isDraining = true
        let start = known ?? .now()
        var handled = 0
        var slowest: (input: Input, time: TimeAmount)?
        // One look at the clock ends an input and begins the next: under some hypervisors it is a system call.
        var before = start
        while !isStopped, let input = urgent.take() ?? nextDatagram() {
            handle(input, at: before)
            handled += 1
            let after = NIODeadline.now()
            let time = after - before
            before = after
            if slowest.map({ $0.time < time }) ?? true { slowest = (input, time) }
            if case .datagram = input { note(time) }
        }
        world.link?.flush()
        isDraining = false
        arm()
        noteBusy(since: start, inputs: handled, slowest: slowest)
    }

    private func nextDatagram() -> Input? { isWaitingForTurn ? nil : datagrams.take() }

    /// After a turn of datagrams the loop looks at everything else before the next.
    private func note(_ time: TimeAmount) {
        spent = spent + time
        guard spent > Runner.turn, !isWaitingForTurn else { return }
        isWaitingForTurn = true
        eventLoop.assumeIsolated().scheduleTask(in: Runner.pause) {
            self.isWaitingForTurn = false
            self.spent = .zero
            self.drain()
        }
    }

    /// An operator's request; `respond` is called until a final answer.
    @discardableResult
    func request(_ request: ControlRequest, respond: @escaping (ControlResponse) -> Void) -> RequestToken {
        let token = RequestToken(rawValue: nextToken)
        nextToken += 1
        let asked = NIODeadline.now()
        responders[token] = Responder(respond: respond, asked: asked)
        submit([.request(token, request)], at: asked)
        return token
    }

    private func handle(_ input: Input, at instant: NIODeadline) {
        var milestones: [Input] = []
        for effect in node.handle(input, now: Runner.now(instant)).joiningCommands() {
            if case .milestone(let step) = effect {
                milestones.append(.milestonePassed(step, at: Runner.now().instant))
            } else {
                carryOut(effect)
            }
        }
        for line in lines { world.log.write(line) }
        lines.removeAll(keepingCapacity: true)
        for milestone in milestones { urgent.append(milestone) }
    }

    private func noteBusy(since start: NIODeadline, inputs: Int, slowest: (input: Input, time: TimeAmount)?) {
        let busy = NIODeadline.now() - start
        guard busy.nanoseconds > Runner.busyMax.inNanoseconds else { return }
        count("loop_busy")
        var fields = [LogLine.Field("milliseconds", "\(busy.nanoseconds / 1_000_000)"), .init("inputs", "\(inputs)")]
        // Of many inputs none may be to blame; of few it is this one.
        if let slowest {
            fields += [.init("slowest", slowest.input.name), .init("its_milliseconds", "\(slowest.time.nanoseconds / 1_000_000)")]
        }
        logAtMostEverySecond("the event loop was busy for long", .warning, fields)
    }

    // MARK: Deadlines

    /// Wakes the node at its next deadline: one task, replaced when the deadline moves nearer. One that moved away is met all the
    /// same and finds nothing to do.
    private func arm() {
        guard !isStopped, !isWaking, let deadline = node.nextDeadline() else { return }
        let at = max(deadline, earliestWake)
        if let armed, armed.at <= at { return }
        armed?.task.cancel()
        timerNumber += 1
        let number = timerNumber
        let task = eventLoop.assumeIsolated().scheduleTask(deadline: .uptimeNanoseconds(at.nanoseconds)) { self.wake(number) }
        armed = (at, number, task)
    }

    /// An event loop looks at its sockets when no task is due. A deadline that is over again as soon as it was met, as that of work in
    /// pages, must not keep it from all else, nor may two timers that do so in turn.
    private func wake(_ number: UInt64) {
        guard armed?.number == number else { return }
        armed = nil
        isWaking = true
        submit(.deadline)
        isWaking = false
        earliestWake = Runner.now().instant + .nanoseconds(Runner.pause.nanoseconds)
        arm()
    }

    // MARK: Effects

    private func carryOut(_ effect: Effect) {
        switch effect {
        case .send(let datagram): world.packets.send(datagram)
        case .heartbeat(let path, let bytes): world.heartbeats?.send(path: path, bytes)
        case .frame(let frame): world.link?.send(frame)
        case .transfer(let gateway, let message): world.transfers?.send(message, to: gateway)
        case .closeLink(let reason): world.link?.close(reason: reason)
        case .dataPlane(let commands): apply(commands)
        case .claimAddresses: addressesChanged(world.addresses.claim())
        case .releaseAddresses: addressesChanged(world.addresses.release())
        case .announceAddresses: addressesAnnounced(world.addresses.announce())
        case .respond(let token, let response): respond(token, response)
        case .certificate(let step): world.credentials?.carryOut(step)
        case .control(let event): world.control?.broadcast(event)
        case .log(let line): lines.append(line)
        case .hook(let call): runHook(call)
        case .watchFlows(let generation): world.flows?.watch(generation: generation)
        case .unwatchFlows: world.flows?.unwatch()
        case .injectFlows(let injection): world.flows?.inject(injection)
        case .arbitrate(let number, let question): world.arbiter?.ask(number, question)
        case .pathsChanged(let working): world.link?.pathsChanged(working: working)
        case .state(let order): write(order)
        case .milestone: break  // Taken out by `handle`, which keeps their times in order.
        case .roleChanged(let role, let epoch, let paired): roleChanged(role, epoch: epoch, paired: paired)
        }
    }

    private func write(_ order: StateOrder) {
        let this = NIOLoopBound(self, eventLoop: eventLoop)
        world.state?.order(order) { event in this.value.submit(.state(event)) }
    }

    /// What the disk does not have yet, at the daemon's end.
    func lastStateOrders() -> [StateOrder] { node.lastStateOrders(now: Runner.now()) }

    private func runHook(_ call: HookCall) {
        let log = world.log
        let runner = hooks ?? HookRunner(eventLoop: eventLoop, log: { log.write($0) }) { self.submit(.hookEnded($0, $1)) }
        hooks = runner
        runner.run(call)
    }

    private func apply(_ commands: [DataPlaneCommand]) {
        // The standby installs while we do.
        world.link?.flush()
        let failures = world.dataPlane.apply(commands)
        guard !failures.isEmpty else { return }
        counters["dataplane_failures", default: 0] += UInt64(failures.count)
        for failure in failures.prefix(Runner.failuresToldMax) { urgent.append(.dataPlaneFailed(failure.description)) }
        let rest = failures.count - Runner.failuresToldMax
        if rest > 0 { urgent.append(.dataPlaneFailed("and \(rest) more commands of the same list")) }
    }

    private func addressesChanged(_ problems: [LogLine]) {
        for problem in problems {
            count("address_failures")
            lines.append(problem)
        }
    }

    /// Announcements are repeated, and so would their failures be.
    private func addressesAnnounced(_ problems: [LogLine]) {
        for problem in problems {
            count("announcement_failures")
            logAtMostEverySecond(problem.message, problem.level, problem.fields)
        }
    }

    private func respond(_ token: RequestToken, _ response: ControlResponse) {
        guard let responder = responders[token] else { return }
        if response.isFinal { responders[token] = nil }
        switch response {
        case .status(var status):
            status.counters.merge(runtimeCounters()) { own, _ in own }
            responder.respond(.status(status))
        case .context(var summary):
            summary.tookMicroseconds = (NIODeadline.now() - responder.asked).nanoseconds / 1000
            responder.respond(.context(summary))
        default: responder.respond(response)
        }
    }

    private func roleChanged(_ role: NodeRole, epoch: Epoch, paired: Bool) {
        self.role = role
        isPaired = paired
        beat()
        world.notifier.status("\(role.name), epoch \(epoch), \(paired ? "paired" : "solo")")
    }

    // MARK: Numbers

    func count(_ name: String, _ number: Int = 1) { counters[name, default: 0] += UInt64(number) }

    /// Of everything below the node, by names that stay.
    private func runtimeCounters() -> [String: UInt64] {
        var all: [String: UInt64] = [:]
        func add(_ prefix: String, _ counters: [String: UInt64]) {
            for (name, value) in counters { all["\(prefix)_\(name)"] = value }
        }
        add("runtime", counters)
        add("link", world.link?.counters ?? [:])
        add("transfer_link", world.transfers?.counters ?? [:])
        add("heartbeat_socket", world.heartbeats?.counters ?? [:])
        add("control", world.control?.counters ?? [:])
        add("arbiter", world.arbiter?.counters ?? [:])
        add("packets", world.packets.statistics())
        let plane = world.dataPlane.statistics()
        add("dataplane", plane.counters.filter { all["packets_\($0.key)"] == nil })
        add(
            "dataplane",
            [
                "inbound_packets": plane.inboundPackets, "inbound_bytes": plane.inboundBytes, "outbound_packets": plane.outboundPackets,
                "outbound_bytes": plane.outboundBytes,
            ])
        all["guard_restarts"] = world.watchman?.restarts ?? 0
        return all
    }

    func logAtMostEverySecond(_ message: String, _ level: LogLine.Level, _ fields: [LogLine.Field]) {
        let line = limiters[message, default: LogLimiter()].pass(LogLine(level, message, fields), wallMilliseconds: wallMilliseconds())
        if let line { world.log.write(line) }
    }
}
