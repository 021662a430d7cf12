/// A Context Data Block (RFC 4067 §2.4): data of one type, or, in a request, the name of a type alone.
public struct ContextDataBlock: Hashable, Sendable {
    public var profile: FeatureProfileType
    /// Which data fields are there, one bit each; `nil`: no presence vector (P = 0).
    public var presence: UInt32?
    /// Padded with zeros to a whole number of words when it is read back: a type says itself how long its data is.
    public var data: [UInt8]

    /// Four octets of header and then data, in 255 words of eight octets.
    public static let dataBytesMax = CXTPLimits.blockBytesMax - 4

    public init(_ profile: FeatureProfileType, presence: UInt32? = nil, data: [UInt8] = []) {
        self.profile = profile
        self.presence = presence
        self.data = data
    }

    /// RFC 4067 §2.4 wants only the first four octets of a block that names a type, and counts in words of eight: such a block has
    /// the length 0.
    func write(to bytes: inout [UInt8]) throws(CXTPError) {
        let content = 4 + (presence == nil ? 0 : 4) + data.count
        guard content <= CXTPLimits.blockBytesMax else { throw .badBlockLength(content) }
        let words = content == 4 ? 0 : (content + 7) / 8
        bytes.append(bigEndian: profile.rawValue)
        bytes.append(UInt8(words))
        bytes.append(presence == nil ? 0 : 0x80)
        if let presence { bytes.append(bigEndian: presence) }
        bytes += data
        if words > 0 { bytes += [UInt8](repeating: 0, count: words * 8 - content) }
    }

    init(_ reader: inout CXTPReader) throws(CXTPError) {
        profile = FeatureProfileType(rawValue: try reader.integer())
        let words = Int(try reader.integer(UInt8.self))
        let hasPresence = try reader.integer(UInt8.self) & 0x80 != 0
        var body = CXTPReader(try reader.take(words == 0 ? 0 : words * 8 - 4))
        if hasPresence, body.remaining < 4 { throw .badBlockLength(words * 8) }
        presence = hasPresence ? try body.integer() : nil
        data = Array(try body.take(body.remaining))
    }

    static func readAll(_ reader: inout CXTPReader) throws(CXTPError) -> [ContextDataBlock] {
        var blocks: [ContextDataBlock] = []
        while reader.remaining > 0 {
            guard blocks.count < CXTPLimits.blocksMax else { throw .tooManyBlocks }
            blocks.append(try ContextDataBlock(&reader))
        }
        return blocks
    }
}

/// What became of one type of context: an element of CTAA (RFC 4067 §2.5.2) and of CTDR (§2.5.4).
public struct ProfileStatus: Hashable, Sendable {
    public var profile: FeatureProfileType
    public var status: TransferStatus

    public init(_ profile: FeatureProfileType, _ status: TransferStatus) {
        self.profile = profile
        self.status = status
    }

    func write(to bytes: inout [UInt8]) {
        bytes.append(bigEndian: profile.rawValue)
        bytes.append(status.rawValue)
        bytes.append(0)
    }

    static func readAll(_ reader: inout CXTPReader) throws(CXTPError) -> [ProfileStatus] {
        var statuses: [ProfileStatus] = []
        while reader.remaining > 0 {
            guard statuses.count < CXTPLimits.statusesMax else { throw .tooManyStatuses }
            let profile = FeatureProfileType(rawValue: try reader.integer())
            statuses.append(ProfileStatus(profile, TransferStatus(rawValue: try reader.integer())))
            _ = try reader.take(1)
        }
        return statuses
    }
}

extension ContextDataBlock: CustomStringConvertible {
    /// Without the data: it may be keys.
    public var description: String { "CDB \(profile.rawValue) of \(data.count) octets" }
}

extension ContextDataBlock: CustomDebugStringConvertible {
    public var debugDescription: String { description }
}
