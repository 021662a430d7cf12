public import Cryptography

/// Why octets are not a state file that this node can go on with.
public enum StateFileError: Error, Hashable, Sendable {
    /// Something else has this name.
    case notAStateFile
    case unsupportedVersion(UInt32)
    /// It was sealed with another key, or its header was changed.
    case wrongKey
    /// A record that was on the disk before a later one cannot be opened: this is no write that a crash cut off.
    case damaged(offset: Int)
    /// A record says what no node writes.
    case malformed(offset: Int, PairWireError)
    /// It is the other node's.
    case otherNode
    case unreadable(String)

    public var text: String {
        switch self {
        case .notAStateFile: "it is no state file of Tandem"
        case .unsupportedVersion(let version): "it has version \(version) of the format, this program knows \(StateFile.version)"
        case .wrongKey: "it was sealed with another key"
        case .damaged(let offset): "the record at octet \(offset) is damaged"
        case .malformed(let offset, let error): "the record at octet \(offset) says what no node writes: \(error.text)"
        case .otherNode: "it is the other node's"
        case .unreadable(let reason): reason
        }
    }
}

/// The form of a state file: a header, then sealed records, each complete on the disk before the next is written.
///
/// - Header, 64 octets: `TDMSTATE`, version (32 bits), 0 (32 bits), a random salt (32 octets), a check (16 octets) by which a wrong key is
///   known from a damaged file.
/// - Record: length of what is sealed with its tag (32 bits), number (64 bits, each above the one before), a check of the two (32 bits of
///   HMAC-SHA-256), and AES-256-GCM over a `StateBatch` under that number as IV, with all before it authenticated. The check tells a record
///   that a crash cut off from a length that is wrong, behind which there may be others.
///
/// The key of a file, the nonce's other half and the check come from the master key and the header by HKDF-SHA-256: every file has its own,
/// so that no number is ever used twice under one key. Numbers are in network order.
public enum StateFile {
    public static let version: UInt32 = 1
    public static let headerCount = 64
    public static let recordHeaderCount = 16
    /// What a batch may have: as a frame of the pair's link, and the small things beside its page.
    public static let contentBytesMax = PairProtocol.frameBytesMax + (2 << 20)
    public static let tagCount = 16
    /// A record with its header.
    public static let recordCountMax = recordHeaderCount + contentBytesMax + tagCount
    /// What a disk writes at once, at least.
    static let sectorCount = 512
    public static let saltCount = 32
    /// Octets of a master key at least: as many as its cipher's key has.
    public static let masterKeyCountMin = 32

    fileprivate static let magic = Array("TDMSTATE".utf8)
    fileprivate static let fixedCount = 16
    fileprivate static let checkCount = 16
    fileprivate static let recordCheckCount = 4
}

/// Seals and opens the records of one file.
public struct StateFileCipher: Sendable {
    /// The header of the file.
    public let header: [UInt8]
    private let key: SecretBytes
    /// For the checks of records' beginnings.
    private let checkKey: SecretBytes

    private static let cipher = Cipher(.aesGCM16, keyBits: 256)
    private static let keyCount = 36
    private static let checkKeyCount = 32

    /// For a new file.
    ///
    /// - Parameter random: for the salt.
    public init(master: SecretBytes, random: RandomSource) {
        let fixed = StateFile.magic + StateFileCipher.octets(UInt64(StateFile.version) << 32)
        let start = fixed + random.bytes(StateFile.saltCount)
        let keys = StateFileCipher.derive(master, from: start)
        header = start + keys.check
        (key, checkKey) = (keys.key, keys.checkKey)
    }

    /// For a file that is there.
    public init(master: SecretBytes, header: [UInt8]) throws(StateFileError) {
        guard header.count == StateFile.headerCount, Array(header.prefix(StateFile.magic.count)) == StateFile.magic else {
            throw .notAStateFile
        }
        let version = UInt32(truncatingIfNeeded: StateFileCipher.number(header[8..<12]))
        guard version == StateFile.version else { throw .unsupportedVersion(version) }
        let keys = StateFileCipher.derive(master, from: Array(header.dropLast(StateFile.checkCount)))
        guard SecretBytes(keys.check) == SecretBytes(header.suffix(StateFile.checkCount)) else { throw .wrongKey }
        self.header = header
        (key, checkKey) = (keys.key, keys.checkKey)
    }

    /// A record. Never two with one number.
    public func seal(_ content: [UInt8], number: UInt64) throws(CryptographyError) -> [UInt8] {
        let iv = StateFileCipher.octets(number)
        let numbers = Array(StateFileCipher.octets(UInt64(content.count + StateFile.tagCount)).suffix(4)) + iv
        let start = numbers + check(numbers)
        let body = try sealIKE(
            cipher: StateFileCipher.cipher, integrity: nil, keys: (key, .empty), iv: iv, header: start, plaintext: content)
        return start + body.dropFirst(iv.count)
    }

    private func check(_ numbers: [UInt8]) -> ArraySlice<UInt8> {
        hmacSHA256(key: checkKey, numbers).prefix(StateFile.recordCheckCount)
    }

    /// Length and number of a record; `nil` when they are not what was written.
    func numbers(start: [UInt8]) -> (length: Int, number: UInt64)? {
        let numbers = Array(start.dropLast(StateFile.recordCheckCount))
        guard check(numbers) == start.suffix(StateFile.recordCheckCount) else { return nil }
        return (Int(StateFileCipher.number(numbers.prefix(4))), StateFileCipher.number(numbers.suffix(8)))
    }

    /// - Parameters:
    ///   - start: the record's first 16 octets.
    ///   - sealed: the others.
    /// - Returns: what was sealed; `nil` when it is not what was written.
    public func open(start: [UInt8], sealed: [UInt8]) -> [UInt8]? {
        let iv = Array(start.dropLast(StateFile.recordCheckCount).suffix(8))
        return try? openIKE(
            cipher: StateFileCipher.cipher, integrity: nil, keys: (key, .empty), body: iv + sealed, header: start)
    }

    private static func derive(_ master: SecretBytes, from start: [UInt8]) -> (key: SecretBytes, checkKey: SecretBytes, check: [UInt8]) {
        let info = Array("tandem state v1".utf8) + start.prefix(StateFile.fixedCount)
        let salt = Array(start.dropFirst(StateFile.fixedCount))
        let both = keyCount + checkKeyCount
        let keys = hkdfSHA256(secret: master, salt: salt, info: info, count: both + StateFile.checkCount)
        return (keys.slice(0..<keyCount), keys.slice(keyCount..<both), keys.slice(both..<keys.count).copyBytes())
    }

    static func octets(_ number: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: number >> (56 - 8 * $0)) } }
    static func number(_ octets: some Sequence<UInt8>) -> UInt64 { octets.reduce(0) { $0 << 8 | UInt64($1) } }
}

/// Goes through a state file, record by record. What a crash cut off at its end is left out: it was never said to be kept.
public struct StateFileReader {
    /// Reads so many octets from an offset; fewer only at the end of the file.
    public typealias Source = (_ offset: Int, _ count: Int) throws(StateFileError) -> [UInt8]

    public struct Record {
        public let number: UInt64
        public let batch: StateBatch
    }

    public let cipher: StateFileCipher
    private let source: Source
    private let size: Int
    /// Where the next record begins; at the end, what of the file is good.
    public private(set) var offset = StateFile.headerCount
    /// The number of the last record.
    public private(set) var number: UInt64 = 0
    /// Octets at the end that were left out.
    public private(set) var cutCount = 0

    /// - Parameter size: of the file, in octets.
    public init(master: SecretBytes, size: Int, source: @escaping Source) throws(StateFileError) {
        self.source = source
        self.size = size
        cipher = try StateFileCipher(master: master, header: try source(0, StateFile.headerCount))
    }

    /// The next record; `nil` when there is no other.
    public mutating func next() throws(StateFileError) -> Record? {
        let rest = size - offset - cutCount
        guard rest > 0 else { return nil }
        let start = try source(offset, StateFile.recordHeaderCount)
        guard start.count == StateFile.recordHeaderCount else { return cut(rest) }
        guard let (length, next) = cipher.numbers(start: start) else {
            // A file that grew before its content came has zeros there.
            if try isZero(from: offset + StateFile.recordHeaderCount) { return cut(rest) }
            // So has one of whose last record the end came before the beginning: no sector of a disk is written by halves.
            let sector = (offset / StateFile.sectorCount + 1) * StateFile.sectorCount
            guard start.allSatisfy({ $0 == 0 }), rest <= StateFile.recordCountMax, try isZero(from: offset, to: sector) else {
                throw .damaged(offset: offset)
            }
            return cut(rest)
        }
        guard length >= StateFile.tagCount, length <= StateFile.contentBytesMax + StateFile.tagCount, next > number else {
            throw .damaged(offset: offset)
        }
        let end = StateFile.recordHeaderCount + length
        guard end <= rest else { return cut(rest) }
        let sealed = try source(offset + StateFile.recordHeaderCount, length)
        guard let content = cipher.open(start: start, sealed: sealed) else {
            // What comes after it was written when this was on the disk.
            guard end == rest else { throw .damaged(offset: offset) }
            return cut(rest)
        }
        let batch: StateBatch
        do throws(PairWireError) { batch = try StateBatchCodec.decode(content) } catch { throw .malformed(offset: offset, error) }
        offset += end
        number = next
        return Record(number: next, batch: batch)
    }

    private mutating func cut(_ count: Int) -> Record? {
        cutCount = count
        return nil
    }

    private func isZero(from start: Int, to end: Int = .max) throws(StateFileError) -> Bool {
        var position = start
        let end = min(size, end)
        while position < end {
            let piece = try source(position, min(65_536, end - position))
            guard !piece.isEmpty, piece.allSatisfy({ $0 == 0 }) else { return piece.isEmpty }
            position += piece.count
        }
        return true
    }

    /// All that a file says.
    public mutating func readAll() throws(StateFileError) -> StoredState {
        var state = StoredState()
        while let record = try next() { state.apply(record.batch) }
        return state
    }
}
