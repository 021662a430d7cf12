import Cryptography
import Pair
import Session
import Testing

@Suite struct HeartbeatTests {
    let codec = HeartbeatCodec(secret: SecretBytes(Array(repeating: 7, count: 32)))
    let heartbeat = Heartbeat(
        node: .one, role: .active, isReady: false, wantsAnswer: true, boot: 0x0102_0304_0506_0708, echo: 9, sequence: 10, epoch: 11)

    @Test func open_whatWasSealed_givesItBack() throws {
        let bytes = codec.seal(heartbeat)
        #expect(bytes.count == HeartbeatCodec.length)
        #expect(Array(bytes.prefix(16)) == [0x54, 0x44, 0x4D, 0x48, 1, 1, 2, 6, 1, 2, 3, 4, 5, 6, 7, 8])
        #expect(try codec.open(bytes) == heartbeat)
    }

    /// What an earlier version sends: no flag of what it understands, no word of what it heard.
    @Test func open_ofAnEarlierVersion_isUnderstood() throws {
        var earlier = heartbeat
        earlier.takesHearing = false
        #expect(codec.seal(earlier)[7] == 2)
        #expect(try codec.open(codec.seal(earlier)) == earlier)
    }

    @Test func open_withWhatWasHeard_givesItBack() throws {
        var long = heartbeat
        long.hearing = .init(upTo: 0x1122_3344_5566_7788, paths: 5)
        let bytes = codec.seal(long)
        #expect(bytes.count == HeartbeatCodec.longLength)
        #expect(try codec.open(bytes) == long)
        for bit in 0..<(bytes.count * 8) {
            var changed = bytes
            changed[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(throws: HeartbeatRejection.self) { try codec.open(changed) }
        }
        for count in 0..<bytes.count { #expect(throws: HeartbeatRejection.self) { try codec.open(Array(bytes.prefix(count))) } }
    }

    @Test func open_anyBitFlipped_throws() {
        let bytes = codec.seal(heartbeat)
        for bit in 0..<(bytes.count * 8) {
            var changed = bytes
            changed[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(throws: HeartbeatRejection.self) { try codec.open(changed) }
        }
    }

    @Test func open_anyOtherLength_throws() {
        let bytes = codec.seal(heartbeat)
        for count in 0..<bytes.count { #expect(throws: HeartbeatRejection.badLength) { try codec.open(Array(bytes.prefix(count))) } }
        #expect(throws: HeartbeatRejection.badLength) { try codec.open(bytes + [0]) }
    }

    @Test func open_withAnotherPairsKey_throwsForged() {
        let other = HeartbeatCodec(secret: SecretBytes(Array(repeating: 8, count: 32)))
        #expect(throws: HeartbeatRejection.forged) { try other.open(codec.seal(heartbeat)) }
    }
}

@Suite struct PeerWatchTests {
    static func heartbeat(_ sequence: UInt64, boot: UInt64 = 100, echo: UInt64 = 1) -> Heartbeat {
        Heartbeat(
            node: .one, role: .standby, isReady: true, wantsAnswer: false, boot: boot, echo: echo, sequence: sequence, epoch: 2)
    }
    var watch = PeerWatch(node: .zero, boot: 1, pathCount: 2, freshFor: .milliseconds(150))

    @Test mutating func receive_thatNamesOurLife_counts() throws {
        let result = try watch.receive(Self.heartbeat(1), path: 1, at: at(5))
        #expect(result == .latest(isNewLife: true))
        #expect(watch.lastHeard == at(5))
        #expect(watch.paths[0].lastHeard == nil)
        #expect(watch.echo == 100)
    }

    /// To a peer that would drop it nothing is said of what was heard.
    @Test mutating func hearing_isForThosePeersThatUnderstandIt() throws {
        #expect(watch.hearing(order: [1, 0], at: at(1)) == nil)
        _ = try watch.receive(Self.heartbeat(7), path: 1, at: at(5))
        #expect(watch.hearing(order: [1, 0], at: at(6)) == .init(upTo: 7, paths: 1))
        #expect(watch.hearing(order: [0, 1], at: at(6)) == .init(upTo: 7, paths: 2))
        #expect(watch.hearing(order: [1, 0], at: at(155)) == .init(upTo: 7, paths: 0))
        var earlier = Self.heartbeat(8)
        earlier.takesHearing = false
        _ = try watch.receive(earlier, path: 1, at: at(156))
        #expect(watch.hearing(order: [1, 0], at: at(157)) == nil)
    }

    @Test mutating func receive_thatNamesNoLife_onlyTeachesTheEcho() throws {
        let result = try watch.receive(Self.heartbeat(1, echo: 0), path: 0, at: at(5))
        #expect(result == .unproven)
        #expect(watch.lastHeard == nil)
        #expect(watch.echo == 100)
    }

    @Test mutating func receive_aRecordingOfThisLife_isStale() throws {
        _ = try watch.receive(Self.heartbeat(5), path: 0, at: at(5))
        #expect(throws: HeartbeatRejection.stale) { try watch.receive(Self.heartbeat(5), path: 0, at: at(6)) }
        #expect(throws: HeartbeatRejection.stale) { try watch.receive(Self.heartbeat(4), path: 0, at: at(6)) }
        #expect(watch.lastHeard == at(5))
        // The other path counts for itself.
        let other = try watch.receive(Self.heartbeat(4), path: 1, at: at(7))
        #expect(other == .late)
        #expect(watch.lastHeard == at(7))
    }

    @Test mutating func receive_aRecordingOfAnotherLife_neitherCountsNorDisplacesTheEcho() throws {
        _ = try watch.receive(Self.heartbeat(5), path: 0, at: at(5))
        let old = try watch.receive(Self.heartbeat(9, boot: 50, echo: 77), path: 0, at: at(20))
        #expect(old == .unproven)
        #expect(watch.echo == 100)
        #expect(watch.lastHeard == at(5))
    }

    @Test mutating func receive_ofANewLifeOnceTheOldIsSilent_isTaken() throws {
        _ = try watch.receive(Self.heartbeat(500), path: 0, at: at(5))
        _ = try watch.receive(Self.heartbeat(1, boot: 101, echo: 0), path: 0, at: at(400))
        #expect(watch.echo == 101)
        let result = try watch.receive(Self.heartbeat(2, boot: 101), path: 0, at: at(450))
        #expect(result == .latest(isNewLife: true))
    }

    /// What a restarted peer said in its former life names our present one; it must not pass for a new life again and again.
    @Test mutating func receive_aRecordingOfAFormerLife_isStale() throws {
        _ = try watch.receive(Self.heartbeat(500), path: 0, at: at(5))
        _ = try watch.receive(Self.heartbeat(1, boot: 101), path: 0, at: at(400))
        for time in [UInt64(450), 600] {
            #expect(throws: HeartbeatRejection.stale) { try watch.receive(Self.heartbeat(501), path: 0, at: at(time)) }
        }
        #expect(watch.boot == 101)
        #expect(watch.lastHeard == at(400))
    }

    @Test mutating func receive_onASlowerPath_isALateSignOfLife() throws {
        #expect(try watch.receive(Self.heartbeat(8), path: 0, at: at(5)) == .latest(isNewLife: true))
        #expect(try watch.receive(Self.heartbeat(7), path: 1, at: at(6)) == .late)
        #expect(watch.last?.sequence == 8)
        #expect(watch.paths[1].lastHeard == at(6))
    }
}

/// The keys that count while a certificate changes.
@Suite struct HeartbeatKeysTests {
    private static let (old, new) = (HeartbeatKeys.Name(own: [1], peer: [2]), HeartbeatKeys.Name(own: [1], peer: [3]))
    private static let oldSecret = SecretBytes([UInt8](repeating: 1, count: 32))
    private static let newSecret = SecretBytes([UInt8](repeating: 2, count: 32))
    private let heartbeat = PeerWatchTests.heartbeat(1)
    private var keys = HeartbeatKeys(HeartbeatKeysTests.old, secret: HeartbeatKeysTests.oldSecret)

    @Test mutating func open_withEitherKey_saysWhichItWas() throws {
        keys.accept(Self.new, secret: Self.newSecret)
        keys.accept(Self.new, secret: Self.newSecret)
        #expect(keys.names == [Self.old, Self.new])
        #expect(try keys.open(HeartbeatCodec(secret: Self.oldSecret).seal(heartbeat)).name == Self.old)
        #expect(try keys.open(HeartbeatCodec(secret: Self.newSecret).seal(heartbeat)).name == Self.new)
        #expect(throws: HeartbeatRejection.forged) { try keys.open(HeartbeatCodec(secret: .empty).seal(heartbeat)) }
        #expect(throws: HeartbeatRejection.badLength) { try keys.open([]) }
    }

    @Test mutating func seal_isWithTheOldKey_untilTheNewIsPreferred() throws {
        keys.accept(Self.new, secret: Self.newSecret)
        #expect(keys.seal(heartbeat) == HeartbeatCodec(secret: Self.oldSecret).seal(heartbeat))
        keys.prefer(Self.new)
        #expect(keys.seal(heartbeat) == HeartbeatCodec(secret: Self.newSecret).seal(heartbeat))
        #expect(try keys.open(HeartbeatCodec(secret: Self.oldSecret).seal(heartbeat)).name == Self.old)
        keys.keepOnly(Self.new)
        #expect(throws: HeartbeatRejection.forged) { try keys.open(HeartbeatCodec(secret: Self.oldSecret).seal(heartbeat)) }
        // A name that is not there leaves what is.
        keys.keepOnly(Self.old)
        #expect(keys.names == [Self.new])
    }
}

func at(_ milliseconds: UInt64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }
