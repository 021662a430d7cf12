import Cryptography
import Session

/// The first four octets of every message: version and type, two flags, length (RFC 4067 §2.5).
private struct CXTPHeader {
    /// The V bit: the addresses are IPv4.
    static let ipv4: UInt8 = 0x80
    /// The A bit of CTAR and CTD, the S bit of CTDR.
    static let second: UInt8 = 0x40

    var type: CXTPType
    var isIPv4: Bool
    var isSecondSet: Bool

    init(_ type: CXTPType, _ address: IPAddress, _ isSecondSet: Bool = false) {
        self.type = type
        isIPv4 = address.isIPv4
        self.isSecondSet = isSecondSet
    }

    /// The rest of the flags is reserved, and not looked at.
    init(_ reader: inout CXTPReader, count: Int) throws(CXTPError) {
        let first: UInt8 = try reader.integer()
        let flags: UInt8 = try reader.integer()
        let length = Int(try reader.integer(UInt16.self))
        guard first >> 5 == CXTPLimits.version else { throw .unsupportedVersion(first >> 5) }
        guard length == count else { throw .badLength(field: length, actual: count) }
        guard let type = CXTPType(rawValue: first & 0x1F) else { throw .unknownType(first & 0x1F) }
        self.type = type
        isIPv4 = flags & CXTPHeader.ipv4 != 0
        isSecondSet = flags & CXTPHeader.second != 0
    }

    /// Puts itself before the body.
    func bytes(before body: [UInt8]) throws(CXTPError) -> [UInt8] {
        let length = CXTPLimits.headerBytes + body.count
        guard length <= CXTPLimits.messageBytesMax else { throw .messageTooLong(length) }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(length)
        bytes.append(CXTPLimits.version << 5 | type.rawValue)
        bytes.append((isIPv4 ? CXTPHeader.ipv4 : 0) | (isSecondSet ? CXTPHeader.second : 0))
        bytes.append(bigEndian: UInt16(length))
        return bytes + body
    }

    func address(_ reader: inout CXTPReader) throws(CXTPError) -> IPAddress {
        guard let address = IPAddress(bytes: try reader.take(isIPv4 ? 4 : 16)) else { throw .truncated }
        return address
    }
}

extension CXTPMessage {
    /// The length that a message's header names, counted with the header; `nil` until the header is there.
    ///
    /// - Throws: `badLength` when it is less than the header itself.
    public static func length(of header: some Collection<UInt8>) throws(CXTPError) -> Int? {
        guard header.count >= CXTPLimits.headerBytes else { return nil }
        let length = header.dropFirst(2).prefix(2).reduce(0) { $0 << 8 | Int($1) }
        guard length >= CXTPLimits.headerBytes else { throw .badLength(field: length, actual: CXTPLimits.headerBytes) }
        return length
    }

    /// The message's bytes.
    ///
    /// - Throws: for a value that the format has no room for.
    public func encode() throws(CXTPError) -> [UInt8] {
        switch self {
        case .activateRequest(let message): try message.encode()
        case .activateAcknowledge(let message): try message.encode()
        case .data(let message): try message.encode()
        case .dataReply(let message): try message.encode()
        case .cancel(let mobileNode): try CXTPHeader(.cancel, mobileNode).bytes(before: mobileNode.bytes)
        case .request(let message): try message.encode()
        }
    }

    /// Reads one whole message.
    public init(parsing bytes: [UInt8]) throws(CXTPError) {
        guard bytes.count <= CXTPLimits.messageBytesMax else { throw .messageTooLong(bytes.count) }
        var reader = CXTPReader(bytes)
        let header = try CXTPHeader(&reader, count: bytes.count)
        switch header.type {
        case .activateRequest: self = .activateRequest(try ActivateRequest(&reader, header))
        case .activateAcknowledge: self = .activateAcknowledge(try ActivateAcknowledge(&reader, header))
        case .data: self = .data(try ContextData(&reader, header, isPredictive: false))
        case .predictiveData: self = .data(try ContextData(&reader, header, isPredictive: true))
        case .dataReply: self = .dataReply(try DataReply(&reader, header))
        case .cancel: self = .cancel(try header.address(&reader))
        case .request: self = .request(try ContextRequest(&reader, header))
        }
        try reader.requireEnd()
    }
}

private func write(_ blocks: [ContextDataBlock], to bytes: inout [UInt8]) throws(CXTPError) {
    guard blocks.count <= CXTPLimits.blocksMax else { throw .tooManyBlocks }
    for block in blocks { try block.write(to: &bytes) }
}

private func write(_ statuses: [ProfileStatus], to bytes: inout [UInt8]) throws(CXTPError) {
    guard statuses.count <= CXTPLimits.statusesMax else { throw .tooManyStatuses }
    for status in statuses { status.write(to: &bytes) }
}

extension ActivateRequest {
    fileprivate func encode() throws(CXTPError) -> [UInt8] {
        guard mobileNode.family == otherGateway.family else { throw .mixedFamilies }
        var body = mobileNode.bytes + otherGateway.bytes
        body.append(bigEndian: sequenceNumber)
        body.append(bigEndian: token)
        try write(blocks, to: &body)
        return try CXTPHeader(.activateRequest, mobileNode, wantsAcknowledgement).bytes(before: body)
    }

    fileprivate init(_ reader: inout CXTPReader, _ header: CXTPHeader) throws(CXTPError) {
        wantsAcknowledgement = header.isSecondSet
        mobileNode = try header.address(&reader)
        otherGateway = try header.address(&reader)
        sequenceNumber = try reader.integer()
        token = try reader.integer()
        blocks = try ContextDataBlock.readAll(&reader)
    }
}

extension ActivateAcknowledge {
    fileprivate func encode() throws(CXTPError) -> [UInt8] {
        var body = mobileNode.bytes
        try write(failures, to: &body)
        return try CXTPHeader(.activateAcknowledge, mobileNode).bytes(before: body)
    }

    fileprivate init(_ reader: inout CXTPReader, _ header: CXTPHeader) throws(CXTPError) {
        mobileNode = try header.address(&reader)
        failures = try ProfileStatus.readAll(&reader)
    }
}

extension ContextData {
    fileprivate func encode() throws(CXTPError) -> [UInt8] {
        var body: [UInt8] = []
        body.append(bigEndian: elapsedMilliseconds)
        body += mobileNode.bytes
        if let tokenKey {
            guard tokenKey.key.count <= CXTPLimits.keyBytesMax else { throw .keyTooLong(tokenKey.key.count) }
            body.append(bigEndian: tokenKey.algorithm)
            body.append(bigEndian: UInt16(tokenKey.key.count))
            body += tokenKey.key.copyBytes()
        }
        try write(blocks, to: &body)
        return try CXTPHeader(tokenKey == nil ? .data : .predictiveData, mobileNode, wantsReply).bytes(before: body)
    }

    fileprivate init(_ reader: inout CXTPReader, _ header: CXTPHeader, isPredictive: Bool) throws(CXTPError) {
        wantsReply = header.isSecondSet
        elapsedMilliseconds = try reader.integer()
        mobileNode = try header.address(&reader)
        tokenKey = isPredictive ? try TokenKey(&reader) : nil
        blocks = try ContextDataBlock.readAll(&reader)
    }
}

extension TokenKey {
    fileprivate init(_ reader: inout CXTPReader) throws(CXTPError) {
        algorithm = try reader.integer()
        let count = Int(try reader.integer(UInt16.self))
        guard count <= CXTPLimits.keyBytesMax else { throw .keyTooLong(count) }
        key = SecretBytes(Array(try reader.take(count)))
    }
}

extension DataReply {
    fileprivate func encode() throws(CXTPError) -> [UInt8] {
        var body = mobileNode.bytes
        try write(statuses, to: &body)
        return try CXTPHeader(.dataReply, mobileNode, isSuccess).bytes(before: body)
    }

    fileprivate init(_ reader: inout CXTPReader, _ header: CXTPHeader) throws(CXTPError) {
        isSuccess = header.isSecondSet
        mobileNode = try header.address(&reader)
        statuses = try ProfileStatus.readAll(&reader)
    }
}

extension ContextRequest {
    fileprivate func encode() throws(CXTPError) -> [UInt8] {
        var body = mobileNode.bytes
        body.append(bigEndian: sequenceNumber)
        body.append(bigEndian: token)
        try write(blocks, to: &body)
        return try CXTPHeader(.request, mobileNode).bytes(before: body)
    }

    fileprivate init(_ reader: inout CXTPReader, _ header: CXTPHeader) throws(CXTPError) {
        mobileNode = try header.address(&reader)
        sequenceNumber = try reader.integer()
        token = try reader.integer()
        blocks = try ContextDataBlock.readAll(&reader)
    }
}
