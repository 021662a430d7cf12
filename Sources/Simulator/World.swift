import Control
import Cryptography
import IKE
import Node
import Pair
import Session

/// Two nodes, a link, heartbeat paths, addresses, data planes and end-users, in virtual time. Everything is deterministic: one
/// seed repeats one run.
///
/// What the world checks by itself, at every step, is in `Checks.swift`.
final class World {
    static let vip = IPAddress("192.0.2.10")!
    /// Where the first end-user is.
    static let client = Endpoint(IPAddress("192.0.2.100")!, 500)

    /// Datagrams that wait for a process that does not run.
    static let socketBufferMax = 500

    /// What a world may be made with.
    struct Options {
        var seed: UInt64 = 42
        var paths = 1
        /// How often the gateway asks a silent peer; never without.
        var livenessDelay: Duration?
        /// The first wait of the gateway for a response.
        var retransmitTimeout: Duration = .seconds(4)
        /// The end-users' pool keeps addresses for who is away.
        var persistent = false
        /// The last address of the end-users' pool, which begins at 10.20.0.1.
        var lastAddress = "10.20.255.254"
        /// The end-users' child has this program.
        var hook: String?
        /// How many connections of end-users are followed; `nil`: none.
        var flowLimit: Int?
        var replayProtection = ReplayProtection.window
        /// Connections beside the end-users'.
        var connections: [ConnectionConfiguration] = []
        /// Each node's own address, in place of the shared one.
        var nodeAddresses: [IPAddress] = []
        var overload: OverloadConfiguration?
        /// When the pair's certificates end, in milliseconds since 1970.
        var certificatesEnd: Int64 = 4_102_444_800_000
        /// Of the end-users' connection.
        var unique = UniquePolicy.no
        /// What the nodes ask when they do not hear each other.
        var arbitration = ArbitrationPlan.none
        var track = TrackConfiguration()
        /// The node that takes back, and after how long.
        var preferred: (node: Int, delay: Duration)?
        /// Each node keeps its state on a disk of its own.
        var keepsState = false
        /// What is deliberately wrong in this world.
        var broken: Break?
    }

    let options: Options
    let onFailure: (String) -> Void
    var now: UInt64 = 1_000_000_000
    var nodes: [Node?] = [nil, nil]
    var planes = [FakeDataPlane(), FakeDataPlane()]
    var flowTables = [FakeConntrack(), FakeConntrack()]
    /// `nil`: the nodes keep no state.
    var disks: [FakeDisk?] = [nil, nil]
    var holdsAddress = [false, false]
    var folders = [FakeCertificates(node: 0), FakeCertificates(node: 1)]
    /// An octet of the secret that each node was started with, and how often it was.
    var (secrets, lives): ([UInt8], [Int]) = ([3, 3], [0, 0])
    var logs: [[LogLine]] = [[], []]
    /// The programs that each node wanted to be run.
    var hooks: [[HookCall]] = [[], []]
    var responses: [RequestToken: [ControlResponse]] = [:]
    var users: [EndUser] = []
    /// A gateway elsewhere that the nodes may call.
    var site: Site?
    var sentByNodes = 0
    /// Requests that came where nobody was.
    var missedRequests = 0
    /// What a node has sent dies with it, as long as it is under way.
    var losesLastWords = false
    /// How often each node has died.
    private var deaths = [0, 0]
    let random: RandomSource
    /// What the wires and the network do.
    let chance: RandomSource
    var wires: Wires
    var network = ClientNetwork()
    var witness = FakeWitness()
    /// Where an end-user's way in one direction is not like all others.
    var roads: [Road: ClientNetwork] = [:]
    var clocks = [Clock(), Clock()]
    /// What waits for a process that does not run (SIGSTOP), as long as it does not.
    var frozen: [[Input]?] = [nil, nil]
    /// What is left of a step that waits for the data plane.
    var suspended: [(effects: [Effect], passed: [TakeoverStep])?] = [nil, nil]
    /// After so many more effects the process dies, wherever in a step that is.
    var dyingAfter: [Int?] = [nil, nil]
    /// How long a list of commands takes the data plane, at most; chances are out of 1,000.
    var planeDelay = (chance: 0, max: UInt64(0))
    /// Out of 1,000 SAs so many are refused.
    var planeFailures = 0
    /// What each data plane refused and has not taken since.
    var refused: [Set<UInt32>] = [[], []]
    /// Refusals of which the node has not heard yet.
    var untold = [0, 0]
    var suspensions = 0
    var suspensionOf = [0, 0]
    private(set) var isDraining = false
    var checks = Checks()
    /// Of everything that the nodes sent to end-users, in order.
    private(set) var digest = Digest()
    /// Between the site and the nodes.
    var nat: NAT?
    /// Takes a datagram of the site off the wire, or changes it.
    var fromSite: (Datagram) -> Datagram? = { $0 }

    /// Where packets for the shared address go: to the node that announced it last.
    var addressee: Int?
    /// A node that gets them whatever is announced: a network in parts.
    var pinned: Int?
    /// Takes a frame off the link, or changes it; with the node that sent it.
    var onLink: (PairFrame, Int) -> PairFrame? = { frame, _ in frame }
    private var queue = EventQueue()
    private var tokens: UInt64 = 0
    /// Which node each request was made to, until it is answered or that node dies.
    private var waiting: [RequestToken: Int] = [:]
    /// Requests whose node died before it answered.
    private(set) var diedWaiting: Set<RequestToken> = []

    /// - Parameter onFailure: hears of the first thing that was found wrong, with the trace of the run.
    init(_ options: Options, onFailure: @escaping (String) -> Void) {
        self.options = options
        chance = options.broken == .strangeChance ? .system : RandomSource.seeded(options.seed &* 7)
        self.onFailure = onFailure
        random = RandomSource.seeded(options.seed)
        wires = Wires(paths: options.paths)
        if options.keepsState { disks = [FakeDisk(), FakeDisk()] }
    }

    var time: Now { Clock().shows(now) }
    /// By a node's own clock.
    func time(of index: Int) -> Now { clocks[index].shows(now) }

    // MARK: - Nodes

    func isAlive(_ index: Int) -> Bool { nodes[index] != nil }

    /// - Parameter secret: an octet of the pair's secret; another one makes a node that the peer cannot verify.
    func start(_ index: Int, alone: Bool = false, secret: UInt8 = 3) {
        secrets[index] = secret
        lives[index] += 1
        planes[index] = FakeDataPlane()
        refused[index] = []
        untold[index] = 0
        planes[index].forgetsLeases = options.broken == .forgottenLease
        holdsAddress[index] = false
        frozen[index] = nil
        suspended[index] = nil
        folders[index].tidy()
        nodes[index] = Node(
            configuration: configuration(NodeID(rawValue: UInt8(index))!, alone: alone, secret: secret), boot: random.uint64() | 1,
            random: random, now: time(of: index))
        openDisk(index)
        feed(index, .started(dataPlane: "fake", reason: "test"))
    }

    /// The process is gone: its connection closes, its guard lets go of the address.
    func kill(_ index: Int) {
        checkKill(of: index)
        cutPower(index)
        for (token, node) in waiting where node == index { diedWaiting.insert(token) }
        waiting = waiting.filter { $0.value != index }
        nodes[index] = nil
        deaths[index] += 1
        frozen[index] = nil
        suspended[index] = nil
        dyingAfter[index] = nil
        flowTables[index].generation = nil
        planes[index] = FakeDataPlane()
        holdsAddress[index] = false
        closeLink(reason: "the connection was closed")
        wires.ends[index] = false
    }

    func startPair() {
        start(0)
        start(1)
        run(for: 1_500)
        expect(role(0) == .active && role(1) == .standby && pairState(0) == "paired", "the pair does not come up")
    }

    func feed(_ index: Int, _ input: Input) {
        guard nodes[index] != nil else { return }
        if frozen[index] != nil { return wait(input, for: index) }
        if case .dataPlaneFailed = input { untold[index] -= 1 }
        let time = time(of: index)
        // In place: a copy would copy the table.
        let effects = nodes[index]!.handle(input, now: time)
        checkOutput(effects, of: index)
        carryOut(effects, of: index)
    }

    /// In order; a step may end in its middle, with the process or for as long as the data plane takes.
    func carryOut(_ effects: [Effect], of index: Int, passed: [TakeoverStep] = []) {
        var (effects, passed) = (effects[...], passed)
        while true {
            while let effect = effects.popFirst() {
                if dies(index) { return kill(index) }
                carryOut(effect, of: index, passed: &passed)
                if let pause = pause(of: effect, at: index) { return suspend(index, for: pause, rest: Array(effects), passed: passed) }
            }
            guard !passed.isEmpty else { break }
            let time = time(of: index)
            effects = passed.flatMap { nodes[index]!.handle(.milestonePassed($0, at: time.instant), now: time) }[...]
            passed = []
        }
        checkState(of: index)
    }

    /// Until it wakes up: a socket's buffer holds so many datagrams; TCP, and whoever asks for something, wait.
    private func wait(_ input: Input, for index: Int) {
        switch input {
        case .deadline: return
        case .datagram, .heartbeat: if frozen[index]!.count >= World.socketBufferMax { return }
        default: break
        }
        frozen[index]!.append(input)
    }

    func freeze(_ index: Int) {
        guard isAlive(index), frozen[index] == nil else { return }
        frozen[index] = []
    }

    func wake(_ index: Int) {
        guard let waiting = frozen[index] else { return }
        frozen[index] = nil
        let rest = suspended[index]
        suspended[index] = nil
        checks.apartSince = nil
        noteDisturbance()
        isDraining = true
        if let rest { carryOut(rest.effects, of: index, passed: rest.passed) }
        // The rest of a step may take its time too; what waits goes on waiting.
        for input in waiting { feed(index, input) }
        isDraining = false
    }

    private func carryOut(_ effect: Effect, of index: Int, passed: inout [TakeoverStep]) {
        switch effect {
        case .send(let datagram):
            sentByNodes += 1
            if options.nodeAddresses.isEmpty {
                expect(holdsAddress[index], "a datagram left node \(index) without the address")
            } else {
                expect(datagram.local.address == options.nodeAddresses[index], "node \(index) speaks from another's address")
            }
            checkIKE(datagram)
            digest.add(datagram.bytes)
            for copy in road(of: datagram.remote.address, isInward: false).copies(of: datagram.bytes, random: chance) {
                let arriving = Datagram(local: datagram.local, remote: datagram.remote, bytes: copy.bytes)
                let life = deaths[index]
                after(wires.latency + copy.delay) { world in
                    if world.losesLastWords, world.deaths[index] != life { return }
                    world.deliver(arriving)
                }
            }
        case .heartbeat(let path, let bytes):
            guard !wires.lost.contains(.path(path, from: index)) else { return }
            after(wires.latency + wires.jitter(chance)) { $0.feed(1 - index, .heartbeat(path: path, bytes: bytes)) }
        case .frame(let frame): carry(frame, from: index)
        case .closeLink(let reason): after(0) { $0.closeLink(reason: reason) }
        case .dataPlane(let commands):
            for command in commands where !isSwallowed(command, of: index) {
                if isRefused(command, of: index) {
                    untold[index] += 1
                    let life = nodes[index]?.life
                    after(0) { if $0.nodes[index]?.life == life { $0.feed(index, .dataPlaneFailed("the data plane has no room")) } }
                } else if let problem = planes[index].apply(command) {
                    expect(false, "node \(index): \(problem)")
                }
            }
        case .claimAddresses: holdsAddress[index] = true
        case .releaseAddresses: holdsAddress[index] = false
        case .announceAddresses: after(wires.latency) { $0.addressee = index }
        case .respond(let token, let response):
            responses[token, default: []].append(response)
            waiting[token] = nil
        case .control, .roleChanged, .transfer, .pathsChanged: break
        case .arbitrate(let number, let question): arbitrate(question, number: number, by: index)
        case .state(let order): self.order(order, of: index)
        case .hook(let call):
            hooks[index].append(call)
            after(wires.latency) { $0.feed(index, .hookEnded(call, .exited(status: 0))) }
        case .certificate(let step): carryOut(step, of: index)
        case .watchFlows(let generation): watchFlows(index, generation: generation)
        case .unwatchFlows: flowTables[index].generation = nil
        case .injectFlows(let injection): injectFlows(injection, into: index)
        case .log(let line):
            logs[index].append(line)
            if line.level.isNotable { trace("node \(index): \(line.text)") }
        case .milestone(let step): passed.append(step)
        }
    }

    // MARK: - Time

    func after(_ nanoseconds: UInt64, _ action: @escaping (World) -> Void) { queue.insert(at: now + nanoseconds, action) }

    /// Runs everything that is due within the next milliseconds of virtual time.
    func run(for milliseconds: UInt64) { run(until: now + milliseconds * 1_000_000) }

    func run(until end: UInt64) {
        var idle = 0
        while !checks.hasFailed {
            checkTakeoverTime()
            openLinkIfPossible()
            let deadlines = nodes.indices.map { index in
                frozen[index] == nil ? nodes[index]?.nextDeadline().map(clocks[index].moment(of:)) ?? .max : .max
            }
            let asked = users.map { $0.initiator.nextDeadline()?.nanoseconds ?? .max }
            let event = queue.next ?? .max
            let ofSite = site?.nextDeadline?.nanoseconds ?? .max
            let next = max(min(deadlines[0], deadlines[1], event, ofSite, asked.min() ?? .max), now)
            guard next <= end else { break }
            idle = next == now ? idle + 1 : 0
            expect(idle < 5000, "a deadline stays in the past: \(deadlines.map { $0 <= now ? "due" : "-" }), the clock stands still")
            now = next
            if event <= now, let action = queue.pop() {
                action(self)
            } else if ofSite <= now, let site {
                post(site.advance(now: time, random: random))
            } else if let user = asked.firstIndex(where: { $0 <= now }) {
                act(users[user]) { $0.advance(context: $1) }
            } else {
                // In turn: no deadline that stays due may keep the other node waiting.
                let due = deadlines.indices.filter { deadlines[$0] <= now }
                feed(due[idle % due.count], .deadline)
            }
        }
        now = max(now, end)
        checkTakeoverTime()
    }

    // MARK: - Questions

    func request(_ index: Int, _ request: ControlRequest) -> RequestToken {
        tokens += 1
        let token = RequestToken(rawValue: tokens)
        waiting[token] = index
        feed(index, .request(token, request))
        return token
    }

    func status(_ index: Int) -> StatusSummary {
        let token = request(index, .status)
        guard case .status(var status)? = responses[token]?.last else { return StatusSummary() }
        if options.broken == .falseStatus { status.pairState = "paired" }
        return status
    }

    func role(_ index: Int) -> NodeRole { nodes[index]?.roles.role ?? .starting }
    func pairState(_ index: Int) -> String { status(index).pairState }

    // MARK: - Traffic

    /// One ESP packet to the end-user from this node, if its data plane lets one out.
    @discardableResult
    func sendESP(inboundSPI: UInt32, from index: Int) -> Bool {
        guard let number = planes[index].take(inboundSPI) else { return false }
        checkSent(number, spi: inboundSPI, from: index)
        return true
    }

    /// A counter report of the data plane, with numbers that it stands at from then on.
    func report(_ spi: UInt32, next: UInt64, top: UInt64 = 0, packets: UInt64 = 1, index: Int = 0) {
        planes[index].raise(spi, next: next, top: top)
        let counters = CounterReport(
            inboundSPI: spi, inboundTop: top, outboundNext: planes[index].sas[spi]?.next ?? next, inboundPackets: packets,
            inboundBytes: packets,
            outboundPackets: 0, outboundBytes: 0)
        feed(index, .dataPlane(.counters([counters])))
    }
}

/// What is to happen, in order of time; of equals, in order of insertion.
private struct EventQueue {
    private var items: [(at: UInt64, order: Int, action: (World) -> Void)] = []
    private var order = 0

    /// The latest first, so that the next one is taken from the end.
    mutating func insert(at instant: UInt64, _ action: @escaping (World) -> Void) {
        order += 1
        var position = items.count
        while position > 0, items[position - 1].at <= instant { position -= 1 }
        items.insert((instant, order, action), at: position)
    }

    var next: UInt64? { items.last?.at }
    mutating func pop() -> ((World) -> Void)? { items.popLast()?.action }
}

extension LogLine {
    var text: String { message + fields.map { " \($0.name)=\($0.value)" }.joined() }
}

extension LogLine.Level {
    /// What an operator would look at.
    var isNotable: Bool { self != .debug && self != .info }
}

/// FNV-1a, 64 bits: tells one run from another, and protects nothing.
struct Digest {
    private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    mutating func add(_ bytes: [UInt8]) { for byte in bytes { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 } }
}
