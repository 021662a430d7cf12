import Cryptography
import Glibc
import Node
import Pair
import Session
import Testing

@testable import Runtime

/// A disk in memory: what a power cut leaves of it, and which calls fail.
struct FakeVolume: StateVolume, ~Copyable {
    /// What is seen from outside while the store has the volume.
    final class Contents {
        /// As the kernel shows it, and as a power cut leaves it.
        var files: [String: [UInt8]] = [:]
        var durableFiles: [String: [UInt8]] = [:]
        var calls: [String] = []
        /// Octets that still fit; `nil`: any number.
        var room: Int?
        var failing: Set<String> = []
        /// The file that is written to: names may change, the content moves with them.
        var open = ""
        var synced: [String: [UInt8]] = [:]

        /// What is there after a power cut now.
        func afterPowerCut() -> Contents {
            let other = Contents()
            other.files = durableFiles
            other.durableFiles = durableFiles
            return other
        }
    }

    let contents: Contents

    private func call(_ name: String) throws(StateVolumeError) {
        contents.calls.append(name)
        if contents.failing.contains(name) { throw StateVolumeError(name, EIO) }
    }

    func size(of name: String) throws(StateVolumeError) -> Int? { contents.files[name]?.count }

    func read(_ name: String, at offset: Int, count: Int) throws(StateVolumeError) -> [UInt8] {
        try call("read")
        guard let bytes = contents.files[name] else { throw StateVolumeError("read", ENOENT) }
        return Array(bytes.dropFirst(offset).prefix(count))
    }

    mutating func create(_ name: String) throws(StateVolumeError) {
        try call("create")
        contents.files[name] = []
        contents.open = name
    }

    mutating func reopen(_ name: String) throws(StateVolumeError) {
        try call("reopen")
        contents.open = name
    }

    mutating func write(_ bytes: [UInt8], at offset: Int) throws(StateVolumeError) {
        contents.calls.append("write")
        var file = contents.files[contents.open] ?? []
        let fits = min(bytes.count, contents.room.map { max(0, $0 - offset) } ?? bytes.count)
        if contents.failing.contains("write") { throw StateVolumeError("write", EIO) }
        file = Array(file.prefix(offset)) + bytes.prefix(fits)
        contents.files[contents.open] = file
        if fits < bytes.count { throw StateVolumeError("write", ENOSPC) }
    }

    mutating func truncate(to size: Int) throws(StateVolumeError) {
        try call("truncate")
        contents.files[contents.open] = Array((contents.files[contents.open] ?? []).prefix(size))
    }

    mutating func sync() throws(StateVolumeError) {
        try call("sync")
        contents.synced[contents.open] = contents.files[contents.open]
        if contents.durableFiles[contents.open] != nil { contents.durableFiles[contents.open] = contents.files[contents.open] }
    }

    mutating func rename(_ name: String, to other: String) throws(StateVolumeError) {
        try call("rename")
        contents.files[other] = contents.files.removeValue(forKey: name)
        contents.synced[other] = contents.synced.removeValue(forKey: name)
        if contents.open == name { contents.open = other }
    }

    mutating func remove(_ name: String) throws(StateVolumeError) {
        try call("remove")
        contents.files[name] = nil
    }

    mutating func syncNames() throws(StateVolumeError) {
        try call("syncNames")
        // A name may come to the disk before the content does.
        contents.durableFiles = contents.files.mapValues { _ in [] }
        for (name, bytes) in contents.synced where contents.files[name] != nil { contents.durableFiles[name] = bytes }
    }
}

@Suite struct StateFilesTests {
    static let key = SecretBytes([UInt8](repeating: 0x21, count: 32))

    fileprivate static func store(_ contents: FakeVolume.Contents, key: SecretBytes = key, node: NodeID = .zero) -> StateFiles<FakeVolume> {
        StateFiles(volume: FakeVolume(contents: contents), master: key, node: node, random: .system)
    }

    private static func head(_ epoch: Epoch) -> StateHead { StateHead(node: .zero, epoch: epoch, epochLimit: 40, atWallMilliseconds: 9) }

    /// A session of no more than its name and some weight.
    fileprivate static func batch(_ ids: [UInt64], epoch: Epoch = 2, ended: [UInt64] = []) -> StateBatch {
        StateBatch(head: head(epoch), sessions: ids.map(session), ended: ended.map(SessionID.init(rawValue:)))
    }

    private static func session(_ id: UInt64) -> Session {
        let keys = DirectionKeys(encryption: SecretBytes([UInt8](repeating: 1, count: 36)), integrity: .empty)
        let sa = IKESA(
            spis: IKESPIs(initiator: id, responder: id << 8), role: .responder,
            algorithms: IKEAlgorithms(
                cipher: Cipher(.aesGCM16, keyBits: 256), integrity: nil, prf: .hmacSHA256, keyExchangeGroup: .curve25519),
            keys: IKEKeys(derivation: SecretBytes([UInt8](repeating: 2, count: 32)), initiator: keys, responder: keys), nextSendID: 0,
            nextReceiveID: 2, establishedWallMilliseconds: 7)
        let identity = Identity(text: "client\(id).example.net")
        return Session(
            id: SessionID(rawValue: id), uniqueID: UInt32(id),
            authorization: PeerAuthorization(connection: "road", localIdentity: identity, remoteIdentity: identity, method: .preSharedKey),
            capabilities: [], local: Endpoint(IPAddress("192.0.2.10")!, 500), remote: Endpoint(IPAddress("192.0.2.100")!, 500),
            encapsulation: false, localBehindNAT: false, remoteBehindNAT: false, ikeSA: sa, establishedWallMilliseconds: 7)
    }

    fileprivate func ids(_ contents: FakeVolume.Contents, key: SecretBytes = key) -> [UInt64] {
        var store = Self.store(contents, key: key)
        return store.open(at: 100).state.sessions.keys.map(\.rawValue).sorted()
    }

    @Test func write_isOnTheDiskWhenItIsDone() {
        let contents = FakeVolume.Contents()
        var store = Self.store(contents)
        let opening = store.open(at: 5)
        #expect(opening.state.sessions.isEmpty && opening.problem == nil && !opening.isReadOnly && opening.spent == 0)
        // Content before name, name before anything else.
        #expect(contents.calls == ["remove", "create", "write", "write", "sync", "rename", "syncNames"])
        contents.calls = []
        guard case .done = store.carryOut(.write(Self.batch([1, 2]))) else { return #expect(Bool(false)) }
        #expect(contents.calls == ["write", "sync"])
        #expect(ids(contents.afterPowerCut()) == [1, 2])
        guard case .done = store.carryOut(.write(Self.batch([3], ended: [1]))) else { return #expect(Bool(false)) }
        #expect(ids(contents.afterPowerCut()) == [2, 3])
    }

    @Test func opening_beginsALifeOnTheDisk_beforeItIsUsed() {
        let contents = FakeVolume.Contents()
        var limits: [Epoch] = []
        for _ in 0..<4 {
            var store = Self.store(contents)
            let opening = store.open(at: 5)
            limits.append(opening.state.head!.epochLimit)
            #expect(opening.spent == (limits.dropLast().last ?? 0))
            // It is there though nothing more is ever written.
            var again = Self.store(contents.afterPowerCut())
            #expect(again.open(at: 5).spent == limits.last)
        }
        #expect(limits == [32, 64, 96, 128])
    }

    @Test func powerCut_afterAnyCall_leavesWhatWasDone() {
        let whole = FakeVolume.Contents()
        var store = Self.store(whole)
        _ = store.open(at: 5)
        for id in UInt64(1)...3 {
            whole.failing = []
            _ = store.carryOut(.write(Self.batch([id])))
            // The next one fails at its sync: what is before it stays.
            whole.failing = ["sync"]
            _ = store.carryOut(.write(Self.batch([id + 100])))
            #expect(ids(whole.afterPowerCut()) == Array(1...id))
        }
    }

    @Test func fullDisk_failsAndGoesOnWhenThereIsRoom() {
        let contents = FakeVolume.Contents()
        var store = Self.store(contents)
        _ = store.open(at: 5)
        _ = store.carryOut(.write(Self.batch([1])))
        let size = contents.files[StateFileName.current]!.count
        // Cut at every octet of the record that does not fit.
        for room in stride(from: size, to: size + 300, by: 7) {
            contents.room = room
            guard case .failed(let reason) = store.carryOut(.write(Self.batch([2]))) else { return #expect(Bool(false)) }
            #expect(reason.contains("No space left"))
            #expect(contents.files[StateFileName.current]!.count == size, "what was half written is cut off")
        }
        contents.failing = ["truncate"]
        guard case .failed = store.carryOut(.write(Self.batch([2]))) else { return #expect(Bool(false)) }
        contents.room = nil
        contents.failing = []
        guard case .done = store.carryOut(.write(Self.batch([2]))) else { return #expect(Bool(false)) }
        #expect(ids(contents.afterPowerCut()) == [1, 2])
    }

    @Test func sync_thatFailed_isNotTrustedAgain() {
        let contents = FakeVolume.Contents()
        var store = Self.store(contents)
        _ = store.open(at: 5)
        _ = store.carryOut(.write(Self.batch([1])))
        contents.failing = ["sync"]
        guard case .failed = store.carryOut(.write(Self.batch([2]))) else { return #expect(Bool(false)) }
        contents.failing = []
        contents.calls = []
        guard case .done = store.carryOut(.write(Self.batch([3]))) else { return #expect(Bool(false)) }
        #expect(contents.calls.contains("rename"), "written anew under another name")
        #expect(ids(contents.afterPowerCut()) == [1, 3])
    }

    @Test func fullDisk_atTheStart_leavesTheNodeWithoutSessions() {
        let contents = FakeVolume.Contents()
        var store = Self.store(contents)
        _ = store.open(at: 5)
        _ = store.carryOut(.write(Self.batch([1])))
        let full = contents.afterPowerCut()
        full.room = 100
        var second = Self.store(full)
        let opening = second.open(at: 6)
        #expect(opening.isReadOnly && opening.state.sessions.isEmpty && opening.spent == 40)
        #expect(opening.problem?.contains("not gone on with") == true)
        // The node has what is there removed, and begins anew.
        guard case .done = second.carryOut(.discard) else { return #expect(Bool(false)) }
        #expect(full.files[StateFileName.current] == nil && full.files[StateFileName.new] == nil)
        full.room = nil
        guard case .done = second.carryOut(.write(Self.batch([5]))) else { return #expect(Bool(false)) }
        #expect(ids(full.afterPowerCut()) == [5])
    }

    @Test func fileOfAnotherKey_isPutAside() throws {
        let contents = FakeVolume.Contents()
        var store = Self.store(contents)
        _ = store.open(at: 5)
        _ = store.carryOut(.write(Self.batch([1])))
        let kept = contents.files[StateFileName.current]
        let other = SecretBytes([UInt8](repeating: 0x22, count: 32))
        var second = Self.store(contents, key: other)
        let opening = second.open(at: 77)
        #expect(opening.state.sessions.isEmpty && !opening.isReadOnly)
        let problem = try #require(opening.problem)
        #expect(problem.contains("another key") && problem.contains("sessions.state.unusable-77"))
        #expect(problem.contains("give [state] the key"))
        #expect(contents.files["sessions.state.unusable-77"] == kept)
        // With the right key and its name it is what it was.
        contents.files[StateFileName.current] = kept
        #expect(ids(contents) == [1])
    }

    @Test func fileOfTheOtherNode_orDamaged_isPutAside() {
        let contents = FakeVolume.Contents()
        var store = Self.store(contents)
        _ = store.open(at: 5)
        _ = store.carryOut(.write(Self.batch([1])))
        _ = store.carryOut(.write(Self.batch([2])))
        let good = contents.files[StateFileName.current]!
        var other = Self.store(contents, node: .one)
        #expect(other.open(at: 6).problem?.contains("the other node's") == true)
        contents.files[StateFileName.current] = good
        contents.files[StateFileName.current]![100] ^= 1
        var third = Self.store(contents)
        let opening = third.open(at: 7)
        #expect(opening.problem?.contains("damaged") == true && opening.state.sessions.isEmpty)
        #expect(contents.files["sessions.state.unusable-7"] != nil)
    }

    @Test func file_thatGrows_isWrittenAnewWithWhatIsLatest() {
        let contents = FakeVolume.Contents()
        var store = Self.store(contents)
        _ = store.open(at: 5)
        let departure = StateBatch(head: Self.head(2), departures: [StoredDeparture(spent: [9: 64])])
        _ = store.carryOut(.write(departure))
        let ids = (1...64).map { UInt64($0) }
        var largest = 0
        for round in 0..<400 {
            guard case .done = store.carryOut(.write(Self.batch(ids, epoch: Epoch(2 + round)))) else { return #expect(Bool(false)) }
            largest = max(largest, contents.files[StateFileName.current]!.count)
        }
        _ = store.carryOut(.write(Self.batch([65], ended: [1, 2])))
        #expect(contents.calls.count { $0 == "rename" } >= 2)
        #expect(largest < 2 * StateFiles<FakeVolume>.growthMin)
        var again = Self.store(contents.afterPowerCut())
        let opening = again.open(at: 9)
        #expect(opening.state.sessions.keys.map(\.rawValue).sorted() == (3...65).map { UInt64($0) })
        #expect(opening.state.departures == [StoredDeparture(spent: [9: 64])])
    }

    @Test func file_thatCannotBeWrittenAnew_goesOn() {
        let contents = FakeVolume.Contents()
        var store = Self.store(contents)
        _ = store.open(at: 5)
        contents.failing = ["create"]
        let ids = (1...64).map { UInt64($0) }
        for _ in 0..<400 {
            guard case .done = store.carryOut(.write(Self.batch(ids))) else { return #expect(Bool(false)) }
        }
        contents.failing = []
        guard case .done = store.carryOut(.write(Self.batch([70]))) else { return #expect(Bool(false)) }
        #expect(self.ids(contents.afterPowerCut()).count == 65)
    }
}

extension StateFilesTests {
    /// What has the name is the new file, and it is gone on with.
    @Test func file_thatIsWrittenAnew_andWhoseNameIsNotOnTheDisk_isNotAddedToWithTheOldKey() {
        let contents = FakeVolume.Contents()
        var store = Self.store(contents)
        _ = store.open(at: 5)
        contents.failing = ["syncNames"]
        let ids = (1...64).map { UInt64($0) }
        var failures = 0
        for _ in 0..<400 where failures < 2 {
            if case .failed = store.carryOut(.write(Self.batch(ids))) { failures += 1 }
        }
        #expect(failures == 2, "nothing is added while a power cut could bring the old file back")
        contents.failing = []
        for id in UInt64(70)...72 {
            guard case .done = store.carryOut(.write(Self.batch([id]))) else { return #expect(Bool(false)) }
        }
        #expect(self.ids(contents.afterPowerCut()) == ids + [70, 71, 72])
    }
}

/// The same on a real directory.
@Suite struct StateDirectoryTests {
    @Test func directory_isMadeForItsOwnerAlone_andUsedByOneStore() throws {
        let folder = TemporaryFolder()
        let path = "\(folder.path)/state"
        do {
            var store = StateFiles(volume: try DirectoryVolume(path), master: StateFilesTests.key, node: .zero, random: .system)
            #expect(FileContents.mode(path) == 0o700)
            #expect(throws: StateVolumeError.self) { _ = try DirectoryVolume(path) }
            #expect(store.open(at: 5).problem == nil)
            let head = StateHead(node: .zero, epoch: 2, epochLimit: 40, atWallMilliseconds: 5)
            guard case .done = store.carryOut(.write(StateBatch(head: head))) else { return #expect(Bool(false)) }
            #expect(FileContents.mode("\(path)/\(StateFileName.current)") == 0o600)
        }
        var again = StateFiles(volume: try DirectoryVolume(path), master: StateFilesTests.key, node: .zero, random: .system)
        #expect(again.open(at: 6).spent == 40)
    }

    @Test func directory_thatOthersMayLookInto_isRefused() throws {
        let folder = TemporaryFolder()
        let path = "\(folder.path)/state"
        #expect(mkdir(path, 0o755) == 0)
        do throws(StateVolumeError) {
            _ = try DirectoryVolume(path)
            Issue.record("it was taken")
        } catch {
            #expect(error.description.contains("chmod 700"))
        }
    }
}
