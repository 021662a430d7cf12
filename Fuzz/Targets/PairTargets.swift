import Cryptography
import ESP
import Pair
import Session

extension FuzzTarget {
    /// The stream of the pair's link. What a frame holds goes where it would go: into a table, and into a data plane.
    static let pairFrame = FuzzTarget(
        name: "pair-frame",
        seeds: {
            let scene = try Scene.established()
            let frames =
                scene.deltas.map { PairFrame.entry(index: 1, .delta($0)) }
                + scene.handshakes.map { .entry(index: 2, .handshake($0)) } + [
                    .hello(PairHello(version: PairProtocol.version, node: .one, name: "sg2", boot: 7, role: .standby, epoch: 3)),
                    .entry(index: 9, .replay([ReplayReport(inboundSPI: 1 << 20, top: 77)])), .acknowledge(index: 12),
                    .snapshotBegin(SnapshotBegin(epoch: 4, sessionCount: 1, nextIndex: 8)),
                    .snapshotPage(Array(scene.table.sessions.values)), .snapshotEnd, .snapshotPageTaken, .handover(epoch: 9),
                    .handoverAccepted(epoch: 9), .handoverRefused(epoch: 9, reason: "not ready"),
                    .flows(FlowBatch(beginsTable: true, removals: [flow.key], puts: [flow])), .flowsTaken,
                    .certificateOffer(Array("-----BEGIN CERTIFICATE-----".utf8)), .certificateAnswer(digest: [7], refusal: "busy"),
                    .mergeRequest(epoch: 5, wantsAll: false), .mergePage(mergePage(of: scene)), .mergePageTaken, .mergeEnd,
                    .condition(
                        NodeCondition(
                            faults: [NamedFault(name: "memory", reason: "97% used")], maintenance: .drain, wallMilliseconds: 1)),
                ]
            return try frames.map { [3] + (try FrameSplitter.framed(PairFrameCodec.encode($0))) }
        },
        run: { bytes in
            var input = FuzzInput(bytes)
            let pieceLength = Int(input.octet()) + 1
            var stream = input.all()[...]
            var splitter = FrameSplitter()
            var table = SessionTable()
            while !stream.isEmpty {
                splitter.append(stream.prefix(pieceLength))
                stream = stream.dropFirst(pieceLength)
                guard let payload = try? splitter.next() else { continue }
                try take(payload, into: &table)
            }
            try require(splitter.bufferedCount <= bytes.count, "the splitter holds more than it was given")
        })

    private static func mergePage(of scene: Scene) -> MergePage {
        var page = MergePage(sessions: scene.table.sessions.values.map { MergePage.Item($0, silence: .milliseconds(3)) })
        page.ended = [MergePage.Ending(session: SessionID(rawValue: 7), silence: .seconds(1), wasDetached: true)]
        (page.endedChildren, page.endedIKESAs) = ([1 << 20], [7])
        return page
    }

    private static let flow = FlowEntry(
        original: FlowTuple(
            source: IPAddress("10.20.0.1")!, destination: IPAddress("10.10.0.80")!, ipProtocol: 6, sourcePort: 40_000, destinationPort: 80),
        reply: FlowTuple(
            source: IPAddress("10.10.0.80")!, destination: IPAddress("10.10.0.1")!, ipProtocol: 6, sourcePort: 80, destinationPort: 1024),
        status: .known, timeout: 60, mark: 7, tcp: FlowTCP(state: 3, originalFlags: 3, replyFlags: 3, originalScale: 7, replyScale: 9))

    private static func take(_ payload: [UInt8], into table: inout SessionTable) throws {
        guard let frame = try? PairFrameCodec.decode(payload) else { return }
        let again = try? PairFrameCodec.decode(PairFrameCodec.encode(frame))
        try require(again == frame, "said again it is \(String(describing: again)), not \(frame)")
        let database = SecurityAssociationDatabase(random: .seeded(1))
        switch frame {
        case .entry(_, .delta(let delta)): _ = try? table.apply(delta)
        case .snapshotPage(let sessions, let reservations):
            for session in sessions { _ = try? table.replace(with: session) }
            for reservation in reservations { try? table.replace(with: reservation) }
        case .mergePage(let page):
            for item in page.sessions {
                let known = table[item.session.id] ?? item.session
                let merged = SessionMerge(
                    ours: SessionMerge.Copy(known, silence: .zero),
                    theirs: SessionMerge.Copy(
                        item.session, silence: item.silence,
                        gone: SessionMerge.Gone(children: Set(page.endedChildren), ikeSAs: Set(page.endedIKESAs)))
                ).session
                _ = try? table.apply(
                    SessionDelta(session: merged.id, changes: [table[merged.id] == nil ? .created(merged) : .merged(merged)]))
            }
        default: break
        }
        for session in table.sessions.values {
            for child in session.children {
                let installation = ChildInstallation(
                    session: session.id, child: child, local: session.local, remote: session.remote, encapsulation: session.encapsulation,
                    numbers: LeasedNumbers(next: 1, limit: 9))
                try? database.apply(.install(installation))
                try? database.apply(.remove(session: session.id, child: child, local: session.local, remote: session.remote))
            }
        }
        try require(database.count == 0, "what was removed is still there")
    }

    /// A datagram on a heartbeat path, as it is and with the code that authenticates it.
    static let heartbeat = FuzzTarget(
        name: "heartbeat", lengthMax: 128,
        seeds: {
            [
                HeartbeatCodec(secret: pairSecret).seal(
                    Heartbeat(node: .one, role: .standby, isReady: true, wantsAnswer: false, boot: 1, echo: 2, sequence: 3, epoch: 4))
            ]
        },
        run: { bytes in
            let codec = HeartbeatCodec(secret: pairSecret)
            try require((try? codec.open(bytes)) == nil || bytes == codec.seal(try codec.open(bytes)), "another was taken for ours")
            let key = hkdfSHA256(secret: pairSecret, salt: [], info: Array("tandem heartbeat v1".utf8), count: 32)
            let signed = Array(bytes.prefix(40))
            guard let opened = try? codec.open(signed + hmacSHA256(key: key, signed)) else { return }
            let again = try? codec.open(codec.seal(opened))
            try require(again == opened, "said again it is \(String(describing: again)), not \(opened)")
        })

    private static let pairSecret = SecretBytes([UInt8](repeating: 0x5A, count: 32))
}
