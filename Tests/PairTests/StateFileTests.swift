import Cryptography
import Session
import Testing

@testable import Pair

@Suite struct StateFileTests {
    static let master = SecretBytes([UInt8](repeating: 0x77, count: 32))

    static func head(_ epoch: Epoch = 6) -> StateHead {
        StateHead(node: .zero, epoch: epoch, epochLimit: 40, atWallMilliseconds: 1_700_000_000_000)
    }

    static func session(_ id: UInt64) -> Session {
        var session = Sample.session
        session.id = SessionID(rawValue: id)
        return session
    }

    static let batches = [
        StateBatch(head: head()),
        StateBatch(head: head(), sessions: [session(1), session(2)]),
        StateBatch(head: head(8), ended: [SessionID(rawValue: 1)], departures: [StoredDeparture(spent: [7: 64, 9: 0])]),
        StateBatch(
            head: head(10), sessions: [session(3)],
            reservations: [
                Reservation(
                    holder: Sample.session.leaseHolder, pool: "road", address: IPAddress("10.20.0.9")!, offlineSince: 1_700_000_000_000)
            ]),
    ]

    /// A file with these batches, and where each of its records ends.
    static func file(_ batches: [StateBatch] = batches, master: SecretBytes = master) throws -> (bytes: [UInt8], ends: [Int]) {
        let cipher = StateFileCipher(master: master, random: .seeded(3))
        var bytes = cipher.header
        var ends = [bytes.count]
        for (index, batch) in batches.enumerated() {
            bytes += try cipher.seal(StateBatchCodec.encode(batch), number: UInt64(index + 1))
            ends.append(bytes.count)
        }
        return (bytes, ends)
    }

    static func state(_ batches: some Sequence<StateBatch>) -> StoredState {
        var state = StoredState()
        for batch in batches { state.apply(batch) }
        return state
    }

    private func read(_ bytes: [UInt8], master: SecretBytes = master) throws(StateFileError) -> StoredState {
        var reader = try reader(bytes, master: master)
        return try reader.readAll()
    }

    private func reader(_ bytes: [UInt8], master: SecretBytes = master) throws(StateFileError) -> StateFileReader {
        try StateFileReader(master: master, size: bytes.count) { (offset, count) throws(StateFileError) in
            Array(bytes[min(offset, bytes.count)..<min(offset + count, bytes.count)])
        }
    }

    @Test(arguments: batches) func batch_encodedAndDecoded_isTheSame(batch: StateBatch) throws {
        #expect(try StateBatchCodec.decode(StateBatchCodec.encode(batch)) == batch)
    }

    @Test func file_readAgain_saysWhatWasWritten() throws {
        let state = try read(Self.file().bytes)
        #expect(state == Self.state(Self.batches))
        #expect(state.sessions.keys.sorted() == [SessionID(rawValue: 2), SessionID(rawValue: 3)])
        #expect(state.head?.epoch == 10 && state.departures.count == 1 && state.reservations.count == 1)
    }

    @Test func file_cutAnywhere_saysWhatWasCompleteByThen() throws {
        let (bytes, ends) = try Self.file()
        for count in bytes.indices {
            guard count >= StateFile.headerCount else {
                #expect(throws: StateFileError.self) { try self.read(Array(bytes.prefix(count))) }
                continue
            }
            let complete = ends.count { $0 <= count } - 1
            var reader = try reader(Array(bytes.prefix(count)))
            #expect(try reader.readAll() == Self.state(Self.batches.prefix(complete)), "cut at \(count)")
            #expect(reader.offset == ends[complete] && reader.cutCount == count - ends[complete])
        }
    }

    @Test func file_whoseLastRecordIsZeros_isTakenForCut() throws {
        let (bytes, ends) = try Self.file()
        for begin in ends[3]..<bytes.count {
            let torn = bytes[..<begin] + [UInt8](repeating: 0, count: bytes.count - begin)
            #expect(try read(Array(torn)) == Self.state(Self.batches.prefix(3)), "zeros from \(begin)")
        }
    }

    @Test func file_withAFlippedBit_isRefusedOrLosesItsEnd() throws {
        let (bytes, ends) = try Self.file()
        for position in stride(from: 0, to: bytes.count * 8, by: 5) {
            var other = bytes
            other[position / 8] ^= 1 << (position % 8)
            let isLast = position / 8 >= ends[3]
            do throws(StateFileError) {
                let state = try read(other)
                #expect(isLast && state == Self.state(Self.batches.prefix(3)), "octet \(position / 8)")
            } catch {
                switch error {
                case .notAStateFile: #expect(position / 8 < 8)
                case .unsupportedVersion: #expect((8..<12).contains(position / 8))
                case .wrongKey: #expect((12..<64).contains(position / 8))
                case .damaged: #expect(position / 8 >= 64)
                default: Issue.record("\(error)")
                }
            }
        }
    }

    @Test func file_withRecordsInAnotherOrder_isRefused() throws {
        let (bytes, ends) = try Self.file()
        func record(_ index: Int) -> ArraySlice<UInt8> { bytes[ends[index - 1]..<ends[index]] }
        let header = bytes.prefix(64)
        for order in [[2, 1, 3, 4], [1, 2, 2, 3], [1, 2, 4, 3]] {
            let other = header + order.flatMap { Array(record($0)) }
            #expect(throws: StateFileError.self, "\(order)") { try self.read(Array(other)) }
        }
        // A number that was never written to its end is left out.
        #expect(try read(Array(header + record(1) + record(2) + record(4))).sessions.count == 3)
    }

    @Test func file_ofAnotherKeyOrFile_isRefused() throws {
        let (bytes, ends) = try Self.file()
        let other = SecretBytes([UInt8](repeating: 0x78, count: 32))
        #expect(throws: StateFileError.wrongKey) { try self.read(bytes, master: other) }
        #expect(throws: StateFileError.notAStateFile) { try self.read([UInt8](repeating: 0x41, count: 100)) }
        // A record of another file under the same key.
        let cipher = StateFileCipher(master: Self.master, random: .seeded(4))
        let foreign = try cipher.seal(StateBatchCodec.encode(Self.batches[3]), number: 4) + [1]
        #expect(throws: StateFileError.damaged(offset: ends[3])) { try self.read(Array(bytes[..<ends[3]] + foreign)) }
        #expect(StateFileError.wrongKey.text.contains("another key"))
    }

    @Test func header_ofTwoFiles_isNeverTheSame() {
        let headers = (0..<100).map { _ in StateFileCipher(master: Self.master, random: .system).header }
        #expect(Set(headers).count == 100)
    }

    @Test func life_thatBegins_leavesEpochsAndSlicesBehind() throws {
        var state = Self.state(Self.batches)
        let before = state
        state.beginLife(of: .one, at: 5)
        #expect(state.head == StateHead(node: .one, epoch: 10, epochLimit: 40 + StoredState.epochReserve, atWallMilliseconds: 5))
        for (id, session) in before.sessions {
            for (child, after) in zip(session.children, try #require(state.sessions[id]).children) {
                // What a former life may have come to unwritten is two gaps at most, and the new one begins above that.
                let furthest = child.lease.nextAfterGap(for: .one).nextAfterGap(for: .one)
                #expect(after.lease == furthest && after.lease.next(for: .one).slice > furthest.slice)
            }
        }
        // In pages it is the same again.
        #expect(Self.state(state.batches()) == state)
    }

    @Test func departures_areKeptInBounds() {
        var state = StoredState()
        let one = StateBatch(head: Self.head(), departures: (0..<3000).map { StoredDeparture(spent: [$0: 1]) })
        state.apply(one)
        state.apply(one)
        #expect(state.departures.count == StoredState.departuresMax)
    }

    /// The disk has written the end of the last record and not its beginning.
    @Test func file_whoseLastRecordBeginsWithZeros_isTakenForCut() throws {
        let (bytes, ends) = try Self.file(Self.batches + [StateBatch(head: Self.head(12), sessions: (10..<30).map(Self.session))])
        let sector = (ends[4] / 512 + 1) * 512
        try #require(sector < bytes.count - 512 && sector > ends[4] + 16)
        func file(zeros range: Range<Int>) -> [UInt8] {
            bytes[..<range.lowerBound] + [UInt8](repeating: 0, count: range.count) + bytes[range.upperBound...]
        }
        for end in [sector, sector + 512] { #expect(try read(file(zeros: ends[4]..<end)) == Self.state(Self.batches)) }
        // No disk leaves that behind.
        #expect(throws: StateFileError.damaged(offset: ends[4])) { try self.read(file(zeros: ends[4]..<ends[4] + 16)) }
    }
}
