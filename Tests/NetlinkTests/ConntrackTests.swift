import Cryptography
import Session
import Testing

@testable import Netlink

/// Connections of every kind, with and without translation.
enum FlowSample {
    static func tuple(_ from: String, _ to: String, _ ipProtocol: UInt8, _ ports: (UInt16, UInt16)) -> FlowTuple {
        FlowTuple(
            source: IPAddress(from)!, destination: IPAddress(to)!, ipProtocol: ipProtocol, sourcePort: ports.0, destinationPort: ports.1)
    }

    /// A download through MASQUERADE: the server sees the gateway, and another port.
    static let tcp = FlowEntry(
        original: tuple("10.20.0.1", "10.10.0.80", 6, (40_000, 8080)), reply: tuple("10.10.0.80", "10.10.0.1", 6, (8080, 1024)),
        status: [.seenReply, .assured, .sourceNAT], timeout: 431_999, mark: 7,
        tcp: FlowTCP(state: 3, originalFlags: 0x03, replyFlags: 0x03, originalScale: 7, replyScale: 9))
    static let udp = FlowEntry(
        original: tuple("10.20.0.1", "10.10.0.53", 17, (5353, 53)), reply: tuple("10.10.0.53", "10.20.0.1", 17, (53, 5353)),
        status: [.seenReply], timeout: 120)
    /// The world reaches a server behind the peer.
    static let forwarded = FlowEntry(
        original: tuple("10.10.0.80", "10.10.0.1", 6, (50_000, 80)), reply: tuple("10.30.0.9", "10.10.0.80", 6, (8080, 50_000)),
        status: [.seenReply, .assured, .destinationNAT], timeout: 300, tcp: FlowTCP(state: 3))
    static let ping = FlowEntry(
        original: tuple("10.20.0.1", "10.10.0.80", 1, (77, 8 << 8)), reply: tuple("10.10.0.80", "10.20.0.1", 1, (77, 0)),
        status: [.seenReply], timeout: 30)
    static let udp6 = FlowEntry(
        original: tuple("fd00:20::1", "fd00:10::53", 17, (5353, 53)), reply: tuple("fd00:10::53", "fd00:20::1", 17, (53, 5353)),
        zone: 3, status: [], timeout: 30)
    static let tcp6 = FlowEntry(
        original: tuple("fd00:20::1", "fd00:10::80", 6, (40_000, 80)), reply: tuple("fd00:10::80", "fd00:10::1", 6, (80, 2048)),
        status: [.seenReply, .assured, .sourceNAT], timeout: 3600, tcp: FlowTCP(state: 4))

    static let all = [tcp, udp, forwarded, ping, udp6, tcp6]
}

struct ConntrackCodingTests {
    /// The message as the kernel is sent it, octet by octet.
    @Test func create_ofATranslatedConnection_isTheKnownMessage() {
        let known = [
            // header: IPCTNL_MSG_CT_NEW, create and exclusive; AF_INET
            "e400000000010106000000000000000002000000",
            // 10.20.0.1:40000 to 10.10.0.80:8080, TCP
            "3400018014000180080001000a140001080002000a0a00501c0002800500010006000000060002009c400000060003001f900000",
            // the reply, untranslated
            "3400028014000180080001000a0a0050080002000a1400011c0002800500010006000000060002001f900000060003009c400000",
            // seen reply, assured, confirmed; 431,999 s; mark 7
            "080003000000000e080007000006977f0800080000000007",
            // ESTABLISHED, window scale and SACK and liberal, 7 and 9
            "300004802c0001800500010003000000060004000b0f0000060005000b0f000005000200070000000500030009000000",
            // source into 10.10.0.1:1024
            "20000680080001000a0a00011400038006000100040000000600020004000000",
        ]
        #expect(ConntrackEncoding.create(FlowSample.tcp).bytes == bytes(known.joined()))
    }

    @Test(arguments: FlowSample.all) func message_cutAnywhere_isNoConnectionOrAnother(entry: FlowEntry) {
        let bytes = ConntrackEncoding.create(entry).bytes
        for count in 0..<bytes.count {
            let reply = NetlinkReply(type: 0x100, flags: 0, sequence: 0, payload: Array(bytes[16...].prefix(count)))
            if case .put(let other)? = ConntrackDecoding.change(reply) { #expect(other.original == entry.original) }
        }
    }

    @Test func garbage_neverTraps() {
        let random = RandomSource.seeded(7)
        var taken = 0
        for round in 0..<20_000 {
            var payload = Array(ConntrackEncoding.create(FlowSample.all[round % FlowSample.all.count]).bytes[16...])
            for _ in 0..<(1 + round % 8) { payload[Int(random.uint32()) % payload.count] = UInt8(truncatingIfNeeded: random.uint32()) }
            let type: UInt16 = round.isMultiple(of: 3) ? 0x102 : 0x100
            if ConntrackDecoding.change(NetlinkReply(type: type, flags: 0, sequence: 0, payload: payload)) != nil { taken += 1 }
        }
        #expect(taken > 0 && taken < 20_000)
        #expect(ConntrackDecoding.change(NetlinkReply(type: 0x100, flags: 0, sequence: 0, payload: [])) == nil)
        #expect(ConntrackDecoding.change(NetlinkReply(type: 0x100, flags: 0, sequence: 0, payload: [2, 0, 0])) == nil)
    }
}

/// Against the running kernel's conntrack, in a network namespace of their own.
@Suite(.enabled(if: Isolated.isPossible && Conntrack.support().isSupported, "needs root, network namespaces and conntrack"))
struct ConntrackKernelTests {
    private static func entries(_ table: Conntrack) throws -> [FlowKey: FlowEntry] {
        var found: [FlowKey: FlowEntry] = [:]
        let isWhole = try table.entries { page in
            for entry in page { found[entry.key] = entry }
            return true
        }
        try #require(isWhole)
        return found
    }

    /// What the kernel says of an entry that it was given: the time is running, and windows are not looked at.
    private static func expect(_ entry: FlowEntry, in found: [FlowKey: FlowEntry]) throws {
        var seen = try #require(found[entry.key], "\(entry.original)")
        #expect(seen.timeout <= entry.timeout && seen.timeout + 5 > entry.timeout)
        seen.timeout = entry.timeout
        if let tcp = entry.tcp {
            #expect(seen.tcp?.originalFlags == tcp.originalFlags | 0x08 && seen.tcp?.replyFlags == tcp.replyFlags | 0x08)
            seen.tcp?.originalFlags = tcp.originalFlags
            seen.tcp?.replyFlags = tcp.replyFlags
        }
        #expect(seen == entry)
    }

    @Test func entries_thatWereCreated_areThereWithTheirTranslations() throws {
        try Isolated.run { _ in
            let table = try Conntrack()
            let outcome = try table.perform(FlowSample.all.map(FlowCommand.create))
            #expect(outcome.failures == [])
            #expect(outcome.done == FlowSample.all.count)
            let found = try Self.entries(table)
            #expect(found.count == FlowSample.all.count)
            for entry in FlowSample.all { try Self.expect(entry, in: found) }
        }
    }

    @Test func entry_updatedReplacedAndRemoved_isWhatWasSaidLast() throws {
        try Isolated.run { _ in
            let table = try Conntrack()
            // Not there yet: an update makes it.
            #expect(try table.perform([.update(FlowSample.tcp), .update(FlowSample.udp)]).done == 2)
            var later = FlowSample.tcp
            later.timeout = 100
            later.mark = 9
            later.tcp?.state = 5
            #expect(try table.perform([.update(later)]).failures == [])
            try Self.expect(later, in: try Self.entries(table))
            // Of a report that leaves the state out, it stays.
            var brief = later
            brief.tcp = nil
            #expect(try table.perform([.update(brief)]).failures == [])
            try Self.expect(later, in: try Self.entries(table))
            // Another connection with the same name is translated into something else.
            var other = FlowSample.tcp
            other.reply.destinationPort = 2222
            #expect(try table.perform([.create(other)]).failures == [])
            try Self.expect(other, in: try Self.entries(table))
            // One that has not seen a reply takes the place of one that has.
            var fresh = other
            fresh.status = [.sourceNAT]
            fresh.tcp?.state = 1
            #expect(try table.perform([.update(fresh)]).failures == [])
            try Self.expect(fresh, in: try Self.entries(table))
            #expect(try table.perform([.remove(fresh.key), .remove(fresh.key)]).failures == [])
            #expect(try Self.entries(table).keys.map(\.self) == [FlowSample.udp.key])
        }
    }

    @Test func reply_thatIsTaken_isRefusedWithoutHarmToOthers() throws {
        try Isolated.run { _ in
            let table = try Conntrack()
            var rival = FlowSample.tcp
            rival.original.sourcePort = 40_001
            let outcome = try table.perform([.create(FlowSample.tcp), .create(rival), .create(FlowSample.udp)])
            #expect(outcome.done == 2)
            #expect(outcome.failures.count == 1)
            #expect(try Self.entries(table).count == 2)
        }
    }

    @Test func monitor_hearsWhatHappens_inOrder() throws {
        try Isolated.run { _ in
            let monitor = try ConntrackMonitor()
            let table = try Conntrack()
            _ = try table.perform([.create(FlowSample.tcp)])
            var later = FlowSample.tcp
            later.status = FlowSample.tcp.status
            later.tcp?.state = 5
            _ = try table.perform([.update(later)])
            _ = try table.perform([.remove(FlowSample.tcp.key)])
            var overrun = false
            let heard = try monitor.read(overrun: &overrun)
            #expect(!overrun)
            #expect(heard.map(\.key) == Array(repeating: FlowSample.tcp.key, count: heard.count))
            guard case .put(let first)? = heard.first, case .remove? = heard.last else {
                Issue.record("\(heard)")
                return
            }
            #expect(first.reply == FlowSample.tcp.reply && first.tcp?.state == 3)
            #expect(heard.contains { if case .put(let entry) = $0 { entry.tcp?.state == 5 } else { false } })
        }
    }

    @Test func table_ofManyEntries_isToldInPages() throws {
        try Isolated.run { _ in
            let table = try Conntrack()
            let flows = (0..<5000).map { number in
                var entry = FlowSample.udp
                entry.original.sourcePort = UInt16(1024 + number)
                entry.reply.destinationPort = UInt16(1024 + number)
                return entry
            }
            #expect(try table.perform(flows.map(FlowCommand.create)).done == 5000)
            var pages = 0
            #expect(try Self.entries(table).count == 5000)
            // Given up in the middle, the socket is as good as before.
            #expect(
                try !table.entries { _ in
                    pages += 1
                    return pages < 2
                })
            #expect(try Self.entries(table).count == 5000)
            #expect(try table.perform(flows.map { .remove($0.key) }).failures == [])
            #expect(try Self.entries(table).isEmpty)
        }
    }
}
