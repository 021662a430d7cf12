import Cryptography
import Glibc
import Node
import Pair
import Session

/// The state file of a node, and all that is done to it: opened once, appended to record by record, each on the disk before the next, and
/// written anew without what is outdated when that has become the larger part.
///
/// A new file is complete under another name, on the disk, before it takes the old one's place.
struct StateFiles<Volume: StateVolume & ~Copyable>: ~Copyable {
    private enum Key: Hashable {
        case session(SessionID)
        case reservation(IPAddress)
    }

    /// Written anew when it has grown to twice what it was, and by this: some 4,000 changes.
    static var growthMin: Int { 4 << 20 }

    private var volume: Volume
    private let master: SecretBytes
    private let node: NodeID
    private let random: RandomSource

    private var cipher: StateFileCipher?
    private var offset = 0
    private var number: UInt64 = 0
    /// What the file had when it was written anew.
    private var base = 0
    /// Which record has the latest word of something.
    private var latest: [Key: UInt64] = [:]
    private var departures: [StoredDeparture] = []
    private var head: StateHead?
    /// What the kernel has of the file may not be what is on the disk: nothing is to be added to it.
    private var isDoubtful = false
    /// The file that is being written anew has the name already, whether or not that would outlive a power cut.
    private var hasTakenPlace = false
    /// A file that could not be written anew is tried again when it has grown to here.
    private var compactsAt = 0

    init(volume: consuming Volume, master: SecretBytes, node: NodeID, random: RandomSource) {
        self.volume = volume
        self.master = master
        self.node = node
        self.random = random
    }

    // MARK: - The beginning

    /// Reads what is there and begins a new life of the node: on the disk, before this returns.
    mutating func open(at wallMilliseconds: Int64) -> StateOpening {
        var problems: [String] = []
        var state = StoredState()
        do throws(StateVolumeError) {
            try volume.remove(StateFileName.new)
            if let size = try volume.size(of: StateFileName.current) { state = try read(size, at: wallMilliseconds, &problems) }
        } catch {
            problems.append(error.description)
        }
        let former = state.head
        state.beginLife(of: node, at: wallMilliseconds)
        do throws(StateVolumeError) {
            try rewrite(state.batches())
        } catch {
            problems.append("\(error); the sessions on disk are not gone on with")
            return StateOpening(
                state: StoredState(), spent: former?.epochLimit ?? 0, writtenAtWallMilliseconds: nil,
                problem: problems.joined(separator: "; "), isReadOnly: true, spentSlices: state.slices)
        }
        return StateOpening(
            state: state, spent: former?.epochLimit ?? 0, writtenAtWallMilliseconds: former?.atWallMilliseconds,
            problem: problems.isEmpty ? nil : problems.joined(separator: "; "))
    }

    /// What cannot be gone on with is put aside, for whoever can make sense of it.
    private mutating func read(
        _ size: Int, at wallMilliseconds: Int64, _ problems: inout [String]
    ) throws(StateVolumeError) -> StoredState {
        do throws(StateFileError) {
            var reader = try reader(of: StateFileName.current, size: size)
            let state = try reader.readAll()
            if let owner = state.head?.node, owner != node { throw .otherNode }
            return state
        } catch {
            let aside = "\(StateFileName.current).unusable-\(wallMilliseconds)"
            try volume.rename(StateFileName.current, to: aside)
            try volume.syncNames()
            let remedy =
                error == .wrongKey ? "; to go on with its sessions give [state] the key that it was sealed with, and the file its name" : ""
            problems.append("\(StateFileName.current) cannot be used: \(error.text); it is kept as \(aside)\(remedy)")
            return StoredState()
        }
    }

    private func reader(of name: String, size: Int) throws(StateFileError) -> StateFileReader {
        let content: [UInt8]
        do throws(StateVolumeError) {
            content = try volume.read(name, at: 0, count: size)
        } catch {
            throw .unreadable(error.description)
        }
        return try StateFileReader(master: master, size: content.count) { (offset, count) throws(StateFileError) in
            Array(content[min(offset, content.count)..<min(offset + count, content.count)])
        }
    }

    // MARK: - Orders

    mutating func carryOut(_ order: StateOrder) -> StateEvent {
        do throws(StateVolumeError) {
            switch order {
            case .write(let batch): try write(batch)
            case .discard: try discard()
            }
            return .done
        } catch {
            return .failed(error.description)
        }
    }

    mutating func write(_ batch: StateBatch) throws(StateVolumeError) {
        guard cipher != nil else { return try rewrite([batch]) }
        if isDoubtful { try compact() }
        let count: Int
        do throws(StateVolumeError) {
            count = try append(batch)
        } catch {
            // The next record takes the place of what may be there of this one.
            do throws(StateVolumeError) { try volume.truncate(to: offset) } catch { isDoubtful = true }
            throw error
        }
        do throws(StateVolumeError) {
            try volume.sync()
        } catch {
            // Linux says so once, and takes the pages for written afterwards.
            isDoubtful = true
            throw error
        }
        offset += count
        note(batch)
        // That it could not be written anew is no failure: all is in it.
        if offset > max(2 * base + Self.growthMin, compactsAt) { do throws(StateVolumeError) { try compact() } catch { retryLater() } }
    }

    private mutating func retryLater() { compactsAt = offset + Self.growthMin }

    mutating func discard() throws(StateVolumeError) {
        cipher = nil
        (latest, departures, head) = ([:], [], nil)
        try volume.remove(StateFileName.current)
        try volume.syncNames()
    }

    // MARK: - Writing

    /// Each number is used once, also when its record does not come to be.
    private mutating func append(_ batch: StateBatch) throws(StateVolumeError) -> Int {
        guard let cipher else { throw StateVolumeError("seal a record", 0) }
        number += 1
        guard let record = try? cipher.seal(StateBatchCodec.encode(batch), number: number) else {
            throw StateVolumeError("seal a record", 0)
        }
        try volume.write(record, at: offset)
        return record.count
    }

    private mutating func note(_ batch: StateBatch) {
        head = batch.head
        for session in batch.sessions { latest[.session(session.id)] = number }
        for id in batch.ended { latest[.session(id)] = nil }
        for reservation in batch.reservations { latest[.reservation(reservation.address)] = number }
        departures += batch.departures
        if departures.count > StoredState.departuresMax { departures.removeFirst(departures.count - StoredState.departuresMax) }
    }

    private mutating func rewrite(_ batches: [StateBatch]) throws(StateVolumeError) {
        do throws(StateVolumeError) {
            try begin()
            for batch in batches { try add(batch) }
            try finish()
        } catch {
            cipher = nil
            // What it took is given back.
            do throws(StateVolumeError) { try volume.remove(StateFileName.new) } catch {}
            throw error
        }
    }

    private mutating func begin() throws(StateVolumeError) {
        (latest, departures, head, number) = ([:], [], nil, 0)
        hasTakenPlace = false
        let new = StateFileCipher(master: master, random: random)
        try volume.create(StateFileName.new)
        try volume.write(new.header, at: 0)
        offset = new.header.count
        cipher = new
    }

    private mutating func add(_ batch: StateBatch) throws(StateVolumeError) {
        offset += try append(batch)
        note(batch)
    }

    private mutating func finish() throws(StateVolumeError) {
        try volume.sync()
        try volume.rename(StateFileName.new, to: StateFileName.current)
        hasTakenPlace = true
        try volume.syncNames()
        (base, isDoubtful, compactsAt) = (offset, false, 0)
    }

    /// Only what is the latest word of something comes into the new file.
    private mutating func compact() throws(StateVolumeError) {
        guard let head else { return }
        let size = offset
        let (wanted, kept) = (latest, departures)
        var page = StateBatch(head: head, departures: kept)
        var old: StateFileReader
        do throws(StateFileError) {
            old = try reader(of: StateFileName.current, size: size)
        } catch {
            throw StateVolumeError("read the state again: \(error.text)", EIO)
        }
        let former = (cipher, offset, number)
        do throws(StateVolumeError) {
            try begin()
            while let record = try next(&old) {
                page.sessions += record.batch.sessions.filter { wanted[.session($0.id)] == record.number }
                page.reservations += record.batch.reservations.filter { wanted[.reservation($0.address)] == record.number }
                while page.sessions.count >= StateBatch.sessionsMax || page.reservations.count >= StateBatch.reservationsMax {
                    try add(takePage(&page))
                }
            }
            repeat { try add(takePage(&page)) } while !page.sessions.isEmpty || !page.reservations.isEmpty
            try finish()
        } catch {
            if hasTakenPlace {
                // What has the name is the new file, but a power cut may bring the old one back: nothing is added before that is settled.
                (base, isDoubtful) = (offset, true)
                throw error
            }
            // The old file is as it was.
            (cipher, offset, number) = former
            (latest, departures, self.head) = (wanted, kept, head)
            do throws(StateVolumeError) {
                try volume.remove(StateFileName.new)
                try volume.reopen(StateFileName.current)
            } catch {
                isDoubtful = true
            }
            throw error
        }
    }

    private func next(_ reader: inout StateFileReader) throws(StateVolumeError) -> StateFileReader.Record? {
        do throws(StateFileError) {
            return try reader.next()
        } catch {
            throw StateVolumeError("read the state again: \(error.text)", EIO)
        }
    }

    private func takePage(_ page: inout StateBatch) -> StateBatch {
        var out = page
        out.sessions = Array(page.sessions.prefix(StateBatch.sessionsMax))
        out.reservations = Array(page.reservations.prefix(StateBatch.reservationsMax))
        page.sessions.removeFirst(out.sessions.count)
        page.reservations.removeFirst(out.reservations.count)
        page.departures = []
        return out
    }
}

enum StateFileName {
    static let current = "sessions.state"
    static let new = "sessions.state.new"
}
