/// What one length-prefixed unit of the control socket holds (strongSwan's vici protocol, "Packet layer").
public enum VICIPacket: Hashable, Sendable {
    case request(command: String, VICIMessage)
    case response(VICIMessage)
    /// The command is not known here.
    case unknownCommand
    case register(event: String)
    case unregister(event: String)
    /// A registration, or the end of one, was carried out.
    case confirmed
    /// There is no event of that name.
    case unknownEvent
    case event(name: String, VICIMessage)

    private enum Kind: UInt8 {
        case request = 0
        case response = 1
        case unknownCommand = 2
        case register = 3
        case unregister = 4
        case confirmed = 5
        case unknownEvent = 6
        case event = 7
    }

    /// Reads a packet without its length field.
    public init(parsing bytes: [UInt8]) throws(VICIError) {
        guard bytes.count <= VICILimits.packetBytesMax else { throw .tooLong(bytes.count) }
        var reader = VICIReader(bytes)
        let type = try reader.octet()
        guard let kind = Kind(rawValue: type) else { throw .unknownPacketType(type) }
        switch kind {
        case .request: self = .request(command: try reader.name(), try VICIMessage(reading: &reader))
        case .response: self = .response(try VICIMessage(reading: &reader))
        case .unknownCommand: self = .unknownCommand
        case .register: self = .register(event: try reader.name())
        case .unregister: self = .unregister(event: try reader.name())
        case .confirmed: self = .confirmed
        case .unknownEvent: self = .unknownEvent
        case .event: self = .event(name: try reader.name(), try VICIMessage(reading: &reader))
        }
    }

    /// The packet's bytes behind four octets of length: as it goes on the socket.
    ///
    /// - Throws: `.tooLong` when the message does not fit a packet.
    public func encode() throws(VICIError) -> [UInt8] {
        var out: [UInt8] = [0, 0, 0, 0]
        switch self {
        case .request(let command, let message): VICIPacket.append(.request, command, message, to: &out)
        case .response(let message): VICIPacket.append(.response, nil, message, to: &out)
        case .unknownCommand: VICIPacket.append(.unknownCommand, nil, nil, to: &out)
        case .register(let event): VICIPacket.append(.register, event, nil, to: &out)
        case .unregister(let event): VICIPacket.append(.unregister, event, nil, to: &out)
        case .confirmed: VICIPacket.append(.confirmed, nil, nil, to: &out)
        case .unknownEvent: VICIPacket.append(.unknownEvent, nil, nil, to: &out)
        case .event(let name, let message): VICIPacket.append(.event, name, message, to: &out)
        }
        let count = out.count - 4
        guard count <= VICILimits.packetBytesMax else { throw .tooLong(count) }
        for index in 0..<4 { out[index] = UInt8(truncatingIfNeeded: count >> (24 - 8 * index)) }
        return out
    }

    private static func append(_ kind: Kind, _ name: String?, _ message: VICIMessage?, to out: inout [UInt8]) {
        out.append(kind.rawValue)
        if let name { VICIMessage.append(name: name, to: &out) }
        message?.encode(into: &out)
    }

    /// The length that a packet's four octets announce, checked against `VICILimits.packetBytesMax`.
    public static func length(of header: some Collection<UInt8>) throws(VICIError) -> Int {
        guard header.count == 4 else { throw .truncated }
        let count = header.reduce(0) { $0 << 8 | Int($1) }
        guard count <= VICILimits.packetBytesMax else { throw .tooLong(count) }
        return count
    }
}
