import Session
import Testing

@testable import Pair

/// Values of a connection that no sender has: each is refused with the field's name.
struct FlowWireTests {
    private func refused(_ change: (inout WireFlowBatch) -> Void) -> PairWireError? {
        var wire = FlowBatch(removals: [Sample.flow.key], puts: [Sample.flow]).wire
        change(&wire)
        return #expect(throws: PairWireError.self) { try FlowBatch(wire) }
    }

    @Test func flow_withAValueThatCannotBe_isRefused() {
        #expect(refused { $0.puts[0].clearReply() } == .missing("Flow.reply"))
        #expect(refused { $0.removals[0].clearOriginal() } == .missing("FlowKey.original"))
        #expect(refused { $0.puts[0].original.source = WireField.bytes(IPAddress("::1")!) } == .invalid("FlowTuple.destination"))
        #expect(refused { $0.puts[0].original.source.removeLast() } == .invalid("FlowTuple.source"))
        #expect(refused { $0.puts[0].original.sourcePort = 65_536 } == .invalid("FlowTuple.source_port"))
        #expect(refused { $0.puts[0].original.ipProtocol = 50 } == .invalid("FlowTuple.ip_protocol"))
        #expect(refused { $0.puts[0].reply.ipProtocol = 17 } == .invalid("Flow.reply"))
        #expect(refused { $0.puts[0].reply = FlowBatch(puts: [Sample.flow6]).wire.puts[0].reply } == .invalid("Flow.reply"))
        #expect(refused { $0.puts[0].timeoutSeconds = 1 << 31 } == .invalid("Flow.timeout_seconds"))
        #expect(refused { $0.puts[0].zone = 65_536 } == .invalid("Flow.zone"))
        #expect(refused { $0.puts[0].tcp.state = 10 } == .invalid("FlowTCP.state"))
        #expect(refused { $0.puts[0].tcp.replyScale = 15 } == .invalid("FlowTCP.reply_scale"))
        #expect(
            refused {
                $0.puts[0].original.ipProtocol = 17
                $0.puts[0].reply.ipProtocol = 17
            } == .invalid("Flow.tcp"))
        let limit = PairProtocol.flowBatchMax
        #expect(
            refused { $0.puts = Array(repeating: $0.puts[0], count: limit + 1) }
                == .tooLong(field: "FlowBatch.puts", count: limit + 1, limit: limit))
    }

    @Test func status_withBitsThatAreNotKnown_isTakenWithoutThem() throws {
        var wire = FlowBatch(puts: [Sample.flow]).wire
        wire.puts[0].status = .max
        #expect(try FlowBatch(wire).puts[0].status == .known)
    }
}

struct FlowReceiverTests {
    private static func entry(_ port: UInt16, timeout: UInt32 = 30) -> FlowEntry {
        var entry = Sample.flow
        entry.original.sourcePort = port
        entry.reply.destinationPort = port
        entry.timeout = timeout
        return entry
    }

    private static func at(_ seconds: UInt64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }

    @Test func entry_whoseTimeIsSoonUp_getsItAgainAndOthersDoNot() {
        var receiver = FlowReceiver(limit: 10)
        _ = receiver.take(FlowBatch(puts: [Self.entry(1), Self.entry(2, timeout: 432_000)]), at: Self.at(0))
        var renewed: [UInt64: [FlowCommand]] = [:]
        for second in 1...1000 {
            let commands = receiver.renew(at: Self.at(UInt64(second)))
            if !commands.isEmpty { renewed[UInt64(second)] = commands }
        }
        // Less than 300 s of the 600 s are left at the sweeps of 360 s and 720 s.
        var given = Self.entry(1)
        given.timeout = 600
        #expect(renewed == [360: [.update(given)], 720: [.update(given)]])
    }

    @Test func entries_ofALargeTable_areRenewedInPages() {
        var receiver = FlowReceiver(limit: 100_000)
        for start in stride(from: 0, to: 60_000, by: 200) {
            _ = receiver.take(FlowBatch(puts: (start..<start + 200).map { Self.entry(UInt16($0)) }), at: Self.at(0))
        }
        var now = Self.at(360)
        var total = 0
        for _ in 0..<1000 {
            let commands = receiver.renew(at: now)
            #expect(commands.count <= PairProtocol.flowBatchMax)
            total += commands.count
            guard let next = receiver.nextDeadline, next < Self.at(400) else { break }
            now = next
        }
        #expect(total == 60_000)
    }

    @Test func table_toldAgain_takesAwayWhatItDoesNotName() {
        var receiver = FlowReceiver(limit: 10)
        _ = receiver.take(FlowBatch(puts: [Self.entry(1), Self.entry(2), Self.entry(3)]), at: Self.at(0))
        #expect(receiver.take(FlowBatch(beginsTable: true, puts: [Self.entry(2)]), at: Self.at(1)).count == 1)
        // What came while it was told stays, too.
        _ = receiver.take(FlowBatch(puts: [Self.entry(4)]), at: Self.at(1))
        let last = receiver.take(FlowBatch(endsTable: true), at: Self.at(2))
        #expect(Set(last) == [.remove(Self.entry(1).key), .remove(Self.entry(3).key)])
        #expect(receiver.count == 2)
    }

    @Test func put_ofAnotherConnectionUnderTheSameName_isMadeAnew() {
        var receiver = FlowReceiver(limit: 10)
        func isCreated(_ entry: FlowEntry) -> Bool {
            guard case .create? = receiver.take(FlowBatch(puts: [entry]), at: Self.at(0)).first else { return false }
            return true
        }
        #expect(isCreated(Self.entry(1)))
        #expect(!isCreated(Self.entry(1, timeout: 700)))
        var translated = Self.entry(1)
        translated.reply.destinationPort = 9
        #expect(isCreated(translated))
        // A state that cannot follow: a reply was seen before.
        var fresh = translated
        fresh.status = [.sourceNAT]
        #expect(isCreated(fresh))
    }
}

struct FlowSenderTests {
    /// A removal that waits, and the same name again: each name waits once, and the queue never outgrows its limit.
    @Test func churn_withoutAnAnswer_staysWithinTheLimit() {
        var sender = FlowSender(limit: 50)
        sender.start()
        var matcher = FlowMatcher()
        matcher.follow(from: nil, to: Sample.tunnel)
        var now: UInt64 = 0
        var sent = 0
        for round in 0..<2000 {
            now += 150_000_000
            var entry = Sample.flow
            entry.original.sourcePort = UInt16(round % 300)
            let change: FlowChange = round % 5 == 4 ? .remove(entry.key) : .put(entry)
            sender.note(.changes([change]), generation: sender.generation, matcher: matcher, at: Instant(nanoseconds: now))
            sent += sender.batches(at: Instant(nanoseconds: now)).count
            #expect(sender.waitingCount <= 100 && sender.trackedCount <= 50)
        }
        #expect(sent == FlowSender.batchesMax)
        #expect(sender.dropped > 0)
        // Answers let everything go.
        for _ in 0..<10 {
            now += 150_000_000
            sender.batchTaken()
            _ = sender.batches(at: Instant(nanoseconds: now))
        }
        #expect(sender.waitingCount == 0 && sender.nextDeadline == nil)
    }

    @Test func report_ofAnEarlierWatch_isNotListenedTo() {
        var sender = FlowSender(limit: 50)
        sender.start()
        let old = sender.generation
        sender.start()
        var matcher = FlowMatcher()
        matcher.follow(from: nil, to: Sample.tunnel)
        let now = Instant(nanoseconds: 1)
        sender.note(.changes([.put(Sample.flow)]), generation: old, matcher: matcher, at: now)
        #expect(sender.batches(at: now) == [])
        sender.note(.changes([.put(Sample.flow)]), generation: sender.generation, matcher: matcher, at: now)
        #expect(sender.batches(at: now) == [FlowBatch(puts: [Sample.flow])])
    }
}

extension Sample {
    /// A session whose CHILD SA carries `flow`.
    static var tunnel: Session {
        var session = Sample.session
        session.children = [session.children[0]]
        session.children[0].mode = .tunnel
        session.children[0].localSelectors = [TrafficSelector(IPPrefix("10.10.0.0/16")!)]
        session.children[0].remoteSelectors = [TrafficSelector(host: IPAddress("10.20.0.1")!)]
        return session
    }
}
