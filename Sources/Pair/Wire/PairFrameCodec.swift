import Session
import SwiftProtobuf

/// `PairFrame` as protobuf and back. Whatever the bytes, decoding ends with a frame or with a `PairWireError`.
///
/// Fields that are not known are passed over, so that a newer node of the same version can say more. Keys are part of
/// frames: they may only go over the pair's TLS link.
public enum PairFrameCodec {
    /// The protobuf payload, without the length in front of it.
    public static func encode(_ frame: PairFrame) -> [UInt8] {
        if case .snapshotPage(let sessions, let reservations) = frame {
            return SnapshotPageCoding.encode(sessions, reservations: reservations)
        }
        return encodeAtOnce(frame)
    }

    static func encodeAtOnce(_ frame: PairFrame) -> [UInt8] {
        // Fails only for messages with required fields, of which there are none, or beyond 2 GiB, which limits preclude.
        try! frame.wire.serializedBytes()
    }

    /// - Throws: `unsupportedVersion` for the hello of another version, whatever else is in it.
    public static func decode(_ bytes: [UInt8]) throws(PairWireError) -> PairFrame {
        guard bytes.count <= PairProtocol.frameBytesMax else { throw .frameTooLarge(bytes.count) }
        if let page = try SnapshotPageCoding.decode(bytes) { return page }
        return try decodeAtOnce(bytes)
    }

    static func decodeAtOnce(_ bytes: [UInt8]) throws(PairWireError) -> PairFrame {
        let wire: WireFrame
        do { wire = try WireFrame(serializedBytes: bytes) } catch { throw .malformed }
        return try PairFrame(wire)
    }
}

extension PairFrame {
    var wire: WireFrame {
        WireFrame.with {
            switch self {
            case .hello(let hello): $0.hello = hello.wire
            case .entry(let index, let entry): $0.entry = entry.wire(index: index)
            case .acknowledge(let index): $0.acknowledge.index = index
            case .snapshotBegin(let begin): $0.snapshotBegin = begin.wire
            case .snapshotPage(let sessions, let reservations):
                $0.snapshotPage.sessions = sessions.map(\.wire)
                $0.snapshotPage.reservations = reservations.map(\.wire)
            case .snapshotEnd: $0.snapshotEnd = WireNothing()
            case .snapshotPageTaken: $0.snapshotPageTaken = WireNothing()
            case .handover(let epoch, let terms): $0.handover = terms.wire(epoch: epoch)
            case .handoverAccepted(let epoch): $0.handoverAccepted.epoch = epoch
            case .handoverRefused(let epoch, let reason):
                $0.handoverRefused.epoch = epoch
                $0.handoverRefused.reason = WireField.shortened(reason)
            case .flows(let batch): $0.flows = batch.wire
            case .flowsTaken: $0.flowsTaken = WireNothing()
            case .certificateOffer(let pem): $0.certificateOffer.certificate = WireField.bytes(pem)
            case .certificateAnswer(let digest, let refusal):
                $0.certificateAnswer.digest = WireField.bytes(digest)
                if let refusal { $0.certificateAnswer.refusal = WireField.shortened(refusal) }
            case .mergeRequest(let epoch, let wantsAll):
                $0.mergeRequest.epoch = epoch
                $0.mergeRequest.wantsAll = wantsAll
            case .mergePage(let page): $0.mergePage = page.wire
            case .mergePageTaken: $0.mergePageTaken = WireNothing()
            case .mergeEnd: $0.mergeEnd = WireNothing()
            case .passedOn(let datagrams): $0.passedOn.datagrams = datagrams.map(\.wire)
            case .condition(let condition): $0.condition = condition.wire
            }
        }
    }

    init(_ wire: WireFrame) throws(PairWireError) {
        switch wire.kind {
        case .hello(let hello): self = .hello(try PairHello(hello))
        case .entry(let entry): self = try PairFrame.entry(entry)
        case .acknowledge(let acknowledge):
            self = .acknowledge(index: try WireField.bounded(acknowledge.index, 0...PairWireLimits.indexMax, "Acknowledge.index"))
        case .snapshotBegin(let begin): self = .snapshotBegin(try SnapshotBegin(begin))
        case .snapshotPage(let page):
            let limit = PairProtocol.snapshotPageSessionsMax
            self = .snapshotPage(
                try WireField.list(page.sessions, max: limit, "SnapshotPage.sessions") { (session) throws(PairWireError) in
                    try Session(session)
                },
                reservations: try WireField.list(
                    page.reservations, max: PairProtocol.snapshotPageReservationsMax, "SnapshotPage.reservations"
                ) { (reservation) throws(PairWireError) in try Reservation(reservation) })
        case .snapshotEnd: self = .snapshotEnd
        case .snapshotPageTaken: self = .snapshotPageTaken
        case .handover(let handover):
            self = .handover(epoch: try WireField.epoch(handover.epoch, "Handover.epoch"), try HandoverTerms(handover))
        case .handoverAccepted(let handover): self = .handoverAccepted(epoch: try WireField.epoch(handover.epoch, "Handover.epoch"))
        case .handoverRefused(let refusal):
            let reason = try WireField.text(refusal.reason, max: PairWireLimits.reasonBytesMax, "HandoverRefused.reason")
            self = .handoverRefused(epoch: try WireField.epoch(refusal.epoch, "HandoverRefused.epoch"), reason: reason)
        case .flows(let batch): self = .flows(try FlowBatch(batch))
        case .flowsTaken: self = .flowsTaken
        case .certificateOffer(let offer):
            let limit = PairWireLimits.certificateBytesMax
            self = .certificateOffer(try WireField.octets(offer.certificate, max: limit, "CertificateOffer.certificate"))
        case .certificateAnswer(let answer):
            let digest = try WireField.octets(answer.digest, max: PairWireLimits.digestBytesMax, "CertificateAnswer.digest")
            guard answer.hasRefusal else {
                self = .certificateAnswer(digest: digest, refusal: nil)
                return
            }
            let refusal = try WireField.text(answer.refusal, max: PairWireLimits.reasonBytesMax, "CertificateAnswer.refusal")
            self = .certificateAnswer(digest: digest, refusal: refusal)
        case .mergeRequest(let request):
            self = .mergeRequest(epoch: try WireField.epoch(request.epoch, "MergeRequest.epoch"), wantsAll: request.wantsAll)
        case .mergePage(let page): self = .mergePage(try MergePage(page))
        case .mergePageTaken: self = .mergePageTaken
        case .mergeEnd: self = .mergeEnd
        case .passedOn(let passed): self = .passedOn(try Datagram.list(passed))
        case .condition(let condition): self = .condition(try NodeCondition(condition))
        case nil: throw .unknownKind("frame")
        }
    }

    private static func entry(_ wire: WireEntry) throws(PairWireError) -> PairFrame {
        let index = try WireField.bounded(wire.index, 1...PairWireLimits.indexMax, "Entry.index")
        switch wire.content {
        case .delta(let delta): return .entry(index: index, .delta(try SessionDelta(delta)))
        case .replay(let replay): return .entry(index: index, .replay(try ReplayReport.list(replay)))
        case .handshake(let change): return .entry(index: index, .handshake(try HandshakeChange(change)))
        case nil: throw .unknownKind("entry")
        }
    }
}

extension PairHello {
    fileprivate var wire: WireHello {
        WireHello.with {
            $0.version = version
            $0.node = UInt32(node.rawValue)
            $0.name = name
            $0.boot = boot
            $0.role = UInt32(role.rawValue)
            $0.epoch = epoch
            $0.takesFlows = takesFlows
            $0.takesCertificates = takesCertificates
            $0.takesMerge = takesMerge
            $0.owesMerge = owesMerge
            $0.takesHandshakes = takesHandshakes
            $0.takesCondition = takesCondition
            $0.certificate = WireField.bytes(certificate)
        }
    }

    fileprivate init(_ wire: WireHello) throws(PairWireError) {
        // Before all else: the other fields of another version may mean something else.
        guard wire.version == PairProtocol.version else { throw .unsupportedVersion(wire.version) }
        self.init(
            version: wire.version, node: try WireField.enumeration(wire.node, NodeID.self, "Hello.node"),
            name: try WireField.text(wire.name, max: PairWireLimits.nameBytesMax, "Hello.name"), boot: wire.boot,
            role: try WireField.enumeration(wire.role, NodeRole.self, "Hello.role"), epoch: try WireField.epoch(wire.epoch, "Hello.epoch"),
            takesFlows: wire.takesFlows, takesCondition: wire.takesCondition, takesCertificates: wire.takesCertificates,
            takesMerge: wire.takesMerge, owesMerge: wire.owesMerge, takesHandshakes: wire.takesHandshakes,
            certificate: try WireField.octets(wire.certificate, max: PairWireLimits.digestBytesMax, "Hello.certificate"))
    }
}

extension SnapshotBegin {
    fileprivate var wire: WireSnapshotBegin {
        WireSnapshotBegin.with {
            $0.epoch = epoch
            $0.sessionCount = sessionCount
            $0.nextIndex = nextIndex
            $0.overrules = overrules
        }
    }

    fileprivate init(_ wire: WireSnapshotBegin) throws(PairWireError) {
        let countMax = UInt64(SessionTable.sessionCountMax)
        self.init(
            epoch: try WireField.epoch(wire.epoch, "SnapshotBegin.epoch"),
            sessionCount: try WireField.bounded(wire.sessionCount, 0...countMax, "SnapshotBegin.session_count"),
            nextIndex: try WireField.bounded(wire.nextIndex, 1...PairWireLimits.indexMax, "SnapshotBegin.next_index"),
            overrules: wire.overrules)
    }
}

extension LogEntry {
    fileprivate func wire(index: UInt64) -> WireEntry {
        WireEntry.with {
            $0.index = index
            switch self {
            case .delta(let delta):
                $0.delta = delta.wire
            case .replay(let reports):
                $0.replay.inboundSpis = reports.map(\.inboundSPI)
                $0.replay.tops = reports.map(\.top)
            case .handshake(let change):
                $0.handshake = change.wire
            }
        }
    }
}

extension ReplayReport {
    fileprivate static func list(_ wire: WireReplay) throws(PairWireError) -> [ReplayReport] {
        let count = wire.inboundSpis.count
        let limit = PairProtocol.replayReportsMax
        guard count <= limit else { throw .tooLong(field: "Replay.inbound_spis", count: count, limit: limit) }
        guard wire.tops.count == count else { throw .invalid("Replay.tops") }
        return zip(wire.inboundSpis, wire.tops).map { ReplayReport(inboundSPI: $0, top: $1) }
    }
}
