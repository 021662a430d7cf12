import Control
import NIOCore
import Netlink
import Node
import Pair
import Session
import Synchronization

/// The daemon's parts from start to end, on the node's event loop.
final class DaemonLife {
    /// How long the orderly end waits for the standby to take over: a switchover takes milliseconds.
    static let switchoverTimeout: TimeAmount = .seconds(2)

    private let configuration: Configuration
    private let log: LogSink
    private let eventLoop: any EventLoop
    private let runner: Runner
    private let notifier = Notifier()
    private var addressWatch: AddressWatch?
    private var revocationWatch: RevocationWatch?
    private var healthWatch: HealthWatch?
    private var scriptTracker: ScriptTracker?
    private var ending: (() -> Void)?
    private var hasEnded = false
    private var stateOpening: StateOpening?

    /// Opens the sockets and makes the data plane, in silence: the gate closed, the addresses released.
    init(_ configuration: Configuration, _ confinement: Confinement, log: LogSink, eventLoop: any EventLoop) throws {
        self.configuration = configuration
        self.log = log
        self.eventLoop = eventLoop
        let choice = try DataPlaneChoice(configuration.dataPlane.kind)
        log.write(LogLine(.info, "data plane", [.init("kind", choice.kind.name), .init("reason", choice.reason)]))
        let conntrack = try ConntrackChoice(configuration.conntrack, hasPeer: configuration.pairLink != nil)
        let followed = conntrack.limit.map { [LogLine.Field("limit", "\($0)")] } ?? []
        log.write(
            LogLine(
                .info, conntrack.limit == nil ? "follows no connections" : "follows connections",
                followed + [.init("reason", conntrack.reason)]))
        let addresses = SharedAddresses(addresses: configuration.node.addresses)
        for problem in addresses.release() { log.write(problem) }
        let inbox = Inbox()
        let packets = try PacketLoop(
            PacketLoop.Configuration(
                addresses: configuration.listenAddresses, ikePort: configuration.runtime.ikePort,
                encapsulationPort: configuration.runtime.natTraversalPort, encapsulationInKernel: choice.isKernel),
            schedule: { eventLoop.execute($0) }, scheduleLater: { _ = eventLoop.scheduleTask(in: Runner.pause, $0) },
            handleIKE: { inbox.put($0.map(Input.datagram)) })
        // IKE's ports are bound, and no further thread has started.
        confinement.sealThread { log.write($0) }
        if choice.isKernel { DaemonLife.exemptFromPolicies(packets, log) }
        let dataPlane = try choice.make(configuration.dataPlaneConfiguration(routes: .netlink), loop: packets)
        try dataPlane.start { event in eventLoop.execute { inbox.put([.dataPlane(event)]) } }
        // Now that its routes stand: policies that the kernel's data plane left would stop what goes through them.
        if !choice.isKernel { try KernelDataPlane.removeProtection() }
        for failure in dataPlane.apply([.gate(.closed)]) {
            log.write(LogLine(.error, "cannot shut the data plane's gate", [.init("reason", failure.description)]))
        }
        let world = Runner.World(dataPlane: dataPlane, packets: packets, addresses: addresses, notifier: notifier, log: log)
        var node = configuration.node
        node.flowLimit = conntrack.limit
        runner = Runner(configuration: node, world: world, eventLoop: eventLoop)
        if let settings = configuration.state { try openState(settings, node.id) }
        inbox.open(NIOLoopBound(runner, eventLoop: eventLoop))
        try packets.start()
    }

    /// What is there is read before anything is served, and handed in before the node may begin.
    private func openState(_ settings: StateSettings, _ node: NodeID) throws {
        let store = try StateStore(settings, node: node, eventLoop: eventLoop)
        let start = NIODeadline.now()
        let opening = store.open()
        let took = "\((NIODeadline.now() - start).nanoseconds / 1_000_000)"
        log.write(
            LogLine(
                .info, "keeps sessions on disk",
                [.init("directory", settings.directory), .init("sessions", "\(opening.state.sessions.count)"), .init("milliseconds", took)])
        )
        runner.world.state = store
        stateOpening = opening
    }

    /// IKE must get through where the block policies would stop it: an `any` among the traffic selectors covers the peers too.
    private static func exemptFromPolicies(_ packets: PacketLoop, _ log: LogSink) {
        for socket in packets.ikeSockets.sockets + packets.encapsulationSockets.sockets {
            do throws(NetlinkError) {
                try XFRMSockets.bypassPolicies(of: socket.descriptor, isIPv6: !socket.address.isIPv4)
            } catch {
                log.write(LogLine(.warning, "cannot exempt a socket of IKE from policies", [.init("reason", "\(error)")]))
            }
        }
    }

    /// Control socket, guard, heartbeats, link; then the node is told that it may begin.
    func start() -> EventLoopFuture<Void> {
        let this = NIOLoopBound(self, eventLoop: eventLoop)
        let runner = NIOLoopBound(runner, eventLoop: eventLoop)
        let eventLoop = eventLoop
        let settings = configuration.runtime
        return ControlServer.start(
            path: settings.controlSocket, group: settings.controlGroup, on: eventLoop, logger: log.logger("control"),
            requests: { request, respond in
                eventLoop.execute { runner.value.request(request, respond: respond) }
            }
        ).flatMapThrowing { control in
            runner.value.world.control = control
            try this.value.startRest()
        }
    }

    private func startRest() throws {
        startGuard()
        if let settings = configuration.pairLink { try startPair(settings) }
        if runner.followsConnections { try startFlows() }
        if let settings = configuration.transferLink { try startTransfers(settings) }
        runner.startTimers()
        notifier.ready(status: "starting")
        if let opening = stateOpening { runner.submit(.state(.opened(opening))) }
        stateOpening = nil
        runner.submit(.started(dataPlane: runner.world.dataPlane.kind, reason: runner.world.dataPlane.reason))
        watchAddresses()
        watchRevocationLists()
        watchHealth()
        if configuration.node.overload != nil { runner.startMeasuringLoad() }
        log.write(LogLine(.notice, "tandemd is ready", [.init("control", configuration.runtime.controlSocket)]))
    }

    /// Without it sessions stay where they are when an address of the host goes.
    private func watchAddresses() {
        let (eventLoop, log) = (eventLoop, log)
        let runner = NIOLoopBound(runner, eventLoop: eventLoop)
        do {
            addressWatch = try AddressWatch { addresses in
                eventLoop.execute { runner.value.submit(.localAddressesChanged(addresses)) }
            }
        } catch {
            log.write(LogLine(.warning, "cannot watch the host's addresses", [.init("reason", "\(error)")]))
        }
    }

    /// What says whether this node is fit. Without the thread only scripts and the data plane's refusals do.
    private func watchHealth() {
        let (eventLoop, log, track) = (eventLoop, log, configuration.node.track)
        let bound = NIOLoopBound(runner, eventLoop: eventLoop)
        let device = runner.world.dataPlane.kind == DataPlaneSettings.Kind.user.rawValue ? configuration.dataPlane.tunName : nil
        do {
            healthWatch = try HealthWatch(HealthWatch.Tracked(track, device: device)) { report in
                eventLoop.execute { bound.value.submit(.health(report)) }
            }
        } catch {
            log.write(LogLine(.warning, "cannot watch interfaces, memory and descriptors", [.init("reason", "\(error)")]))
        }
        guard !track.scripts.isEmpty else { return }
        let (runner, name) = (runner, configuration.node.name)
        let tracker = ScriptTracker(
            track.scripts, eventLoop: eventLoop,
            variables: { [.init("TANDEM_NODE", name), .init("TANDEM_ROLE", runner.role.name)] },
            report: { runner.submit(.health($0)) })
        scriptTracker = tracker
        tracker.start()
    }

    private func startFlows() throws {
        let runner = runner
        runner.world.flows = try FlowFollower(
            eventLoop: eventLoop, log: { runner.logAtMostEverySecond($0.message, $0.level, $0.fields) }, submit: { runner.submit($0) })
    }

    private func watchRevocationLists() {
        guard !configuration.revocationFiles.isEmpty else { return }
        revocationWatch = RevocationWatch(configuration.revocationFiles, eventLoop: eventLoop) { [runner, log] finding in
            for line in finding.lines { log.write(line) }
            runner.count("revocation_file_failures", finding.failures)
            if let lists = finding.lists { runner.submit(.revocationLists(lists)) }
        }
    }

    private func startGuard() {
        guard configuration.runtime.isGuarded else {
            return log.write(LogLine(.warning, "no guard: runtime.guard is false, and a frozen daemon keeps its addresses"))
        }
        let program = configuration.runtime.guardProgram ?? GuardProcess.ownProgram
        let log = log
        let file = AbsolutePath.of(configuration.path)
        runner.world.watchman = GuardProcess(program: program, configurationPath: file) { log.write($0) }
    }

    private func startPair(_ settings: PairLinkSettings) throws {
        let log = log
        let runner = runner
        let link = try PairLink(settings, node: configuration.node.id, eventLoop: eventLoop, log: { log.write($0) }) { event in
            switch event {
            case .opened(let path, let description, let certificate):
                log.write(LogLine(.info, "the pair's link is open", [.init("path", description)]))
                runner.submit(.certificate(.shown(digest: certificate)))
                runner.submit(.linkOpened(path: path))
            case .frame(let frame): runner.submit(.frame(frame))
            case .closed(let reason): runner.submit(.linkClosed(reason: reason))
            }
        }
        let heartbeats = HeartbeatSockets(settings.paths, eventLoop: eventLoop, log: { log.write($0) }) { path, bytes in
            link.peerWasHeard()
            runner.submit(.heartbeat(path: path, bytes: bytes))
        }
        if let files = settings.files {
            files.tidy()
            runner.world.credentials = PairCredentials(
                settings, files: files, name: configuration.node.name, link: link, eventLoop: eventLoop, log: { log.write($0) }
            ) { runner.submit(.certificate($0)) }
        }
        runner.world.link = link
        runner.world.heartbeats = heartbeats
        heartbeats.start()
        link.start()
        try startArbiter()
    }

    private func startArbiter() throws {
        guard !configuration.arbitration.isEmpty else { return }
        let log = log
        let runner = runner
        let arbiter = try Arbiter(
            configuration.arbitration, id: configuration.node.id, node: configuration.node.name,
            peer: configuration.node.pair?.peerName ?? "", eventLoop: eventLoop, log: { log.write($0) },
            answered: { runner.submit(.arbitration($0, $1)) })
        runner.world.arbiter = arbiter
        arbiter.start()
    }

    private func startTransfers(_ settings: TransferLinkSettings) throws {
        let log = log
        let runner = runner
        let links = try TransferLinks(settings, eventLoop: eventLoop, log: { log.write($0) }) { event in
            switch event {
            case .message(let gateway, let message): runner.submit(.transferMessage(from: gateway, message))
            case .closed(let gateway, let reason): runner.submit(.transferLinkClosed(gateway: gateway, reason: reason))
            }
        }
        runner.world.transfers = links
        links.start()
    }

    // MARK: The end

    /// Hands everything over if there is somebody to take it, then gives up what this host has.
    func end(_ done: @escaping () -> Void) {
        guard ending == nil else { return }
        ending = done
        notifier.stopping()
        guard runner.isActiveWithReadyPeer else { return finish() }
        log.write(LogLine(.notice, "hands over before it ends"))
        eventLoop.assumeIsolated().scheduleTask(in: DaemonLife.switchoverTimeout) { self.finish() }
        // Whatever state the other node is in, it will be alone.
        runner.request(.switchover(force: true)) { response in
            // Later, so that what belongs to the answer has been carried out.
            if response.isFinal { self.eventLoop.assumeIsolated().execute { self.finishAfterHooks() } }
        }
    }

    /// When the programs of what was handed over have been run; they have as long as the hand-over has.
    private func finishAfterHooks() {
        guard !hasEnded else { return }
        guard runner.isRunningHooks else { return finish() }
        eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(20)) { self.finishAfterHooks() }
    }

    private func finish() {
        guard !hasEnded else { return }
        hasEnded = true
        runner.stop()
        let world = runner.world
        for failure in world.dataPlane.apply([.gate(.closed)]) {
            log.write(LogLine(.error, "cannot shut the data plane's gate", [.init("reason", failure.description)]))
        }
        for problem in world.addresses.release() { log.write(problem) }
        // Only now what may take its time: until here this host still spoke for the sessions.
        addressWatch?.stop()
        revocationWatch?.stop()
        healthWatch?.stop()
        scriptTracker?.stop()
        world.flows?.stop()
        world.watchman?.quit()
        endState()
        runner.world.watchman = nil
        world.heartbeats?.stop()
        world.link?.stop()
        world.credentials?.stop()
        world.transfers?.stop()
        world.arbiter?.stop()
        _ = world.control?.stop()
        world.dataPlane.stop()
        world.packets.stop()
        log.write(LogLine(.notice, "tandemd has ended"))
        // The farewells of TLS connections have a moment to leave.
        let done = ending ?? {}
        eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(20)) { done() }
    }
}

extension DaemonLife {
    private func endState() {
        guard let reason = runner.world.state?.stop(last: runner.lastStateOrders()) else { return }
        log.write(LogLine(.error, "the last changes are not on the disk", [.init("reason", reason)]))
    }
}

/// Where packets and data plane events go before the runner, which is made after them. Filled and emptied on the event loop.
private final class Inbox: Sendable {
    private let runner = Mutex<NIOLoopBound<Runner>?>(nil)

    func open(_ bound: NIOLoopBound<Runner>) { runner.withLock { $0 = bound } }

    func put(_ inputs: [Input]) { runner.withLock { $0 }?.value.submit(inputs) }
}
