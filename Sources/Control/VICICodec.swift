/// The element types of a message (strongSwan's vici protocol, "Message format").
enum VICIElementType {
    static let sectionStart: UInt8 = 1
    static let sectionEnd: UInt8 = 2
    static let keyValue: UInt8 = 3
    static let listStart: UInt8 = 4
    static let listItem: UInt8 = 5
    static let listEnd: UInt8 = 6
}

/// Reads octets with every length checked.
struct VICIReader {
    private let bytes: [UInt8]
    private(set) var position: Int

    init(_ bytes: [UInt8], from position: Int = 0) {
        self.bytes = bytes
        self.position = position
    }

    var isAtEnd: Bool { position >= bytes.count }

    mutating func octet() throws(VICIError) -> UInt8 {
        guard position < bytes.count else { throw .truncated }
        defer { position += 1 }
        return bytes[position]
    }

    mutating func octets(_ count: Int) throws(VICIError) -> ArraySlice<UInt8> {
        guard count <= bytes.count - position else { throw .truncated }
        defer { position += count }
        return bytes[position..<position + count]
    }

    /// One octet of length, then that much UTF-8 text.
    mutating func name() throws(VICIError) -> String {
        let count = Int(try octet())
        let raw = try octets(count)
        guard count > 0, let text = String(validating: raw, as: UTF8.self) else { throw .badName }
        return text
    }

    /// Two octets of length, then that many octets.
    mutating func value() throws(VICIError) -> [UInt8] {
        let high = Int(try octet())
        let low = Int(try octet())
        return Array(try octets(high << 8 | low))
    }
}

extension VICIMessage {
    /// Reads a whole message.
    public init(parsing bytes: [UInt8]) throws(VICIError) {
        var reader = VICIReader(bytes)
        try self.init(reading: &reader)
    }

    init(reading reader: inout VICIReader) throws(VICIError) {
        self = try VICIMessage.readSection(&reader, depth: 0)
    }

    /// Reads elements up to the section's end, or to the end of the bytes at the root.
    private static func readSection(_ reader: inout VICIReader, depth: Int) throws(VICIError) -> VICIMessage {
        guard depth <= VICILimits.depthMax else { throw .tooDeep }
        var message = VICIMessage()
        while !reader.isAtEnd {
            let type = try reader.octet()
            switch type {
            case VICIElementType.sectionStart:
                let name = try reader.name()
                message.add(name, section: try readSection(&reader, depth: depth + 1))
            case VICIElementType.sectionEnd:
                guard depth > 0 else { throw .unbalanced }
                return message
            case VICIElementType.keyValue:
                let name = try reader.name()
                message.elements.append(.value(name: name, try reader.value()))
            case VICIElementType.listStart:
                let name = try reader.name()
                message.elements.append(.list(name: name, try readList(&reader)))
            case VICIElementType.listItem, VICIElementType.listEnd:
                throw .misplacedElement(type)
            default:
                throw .unknownElementType(type)
            }
        }
        guard depth == 0 else { throw .unbalanced }
        return message
    }

    private static func readList(_ reader: inout VICIReader) throws(VICIError) -> [[UInt8]] {
        var items: [[UInt8]] = []
        while !reader.isAtEnd {
            let type = try reader.octet()
            switch type {
            case VICIElementType.listItem: items.append(try reader.value())
            case VICIElementType.listEnd: return items
            case 1...6: throw .misplacedElement(type)
            default: throw .unknownElementType(type)
            }
        }
        throw .unbalanced
    }

    /// The message's bytes. Names and values that are longer than their length fields can say are cut at that length: they
    /// come from the configuration and from peers' identities, and a listing is better cut than missing.
    public func encode() -> [UInt8] {
        var out: [UInt8] = []
        encode(into: &out)
        return out
    }

    func encode(into out: inout [UInt8]) {
        for element in elements {
            switch element {
            case .section(let name, let message):
                out.append(VICIElementType.sectionStart)
                VICIMessage.append(name: name, to: &out)
                message.encode(into: &out)
                out.append(VICIElementType.sectionEnd)
            case .value(let name, let bytes):
                out.append(VICIElementType.keyValue)
                VICIMessage.append(name: name, to: &out)
                VICIMessage.append(value: bytes, to: &out)
            case .list(let name, let items):
                out.append(VICIElementType.listStart)
                VICIMessage.append(name: name, to: &out)
                for item in items {
                    out.append(VICIElementType.listItem)
                    VICIMessage.append(value: item, to: &out)
                }
                out.append(VICIElementType.listEnd)
            }
        }
    }

    static func append(name: String, to out: inout [UInt8]) {
        // Cut between scalars, so that what is sent is still text.
        var count = 0
        for scalar in name.unicodeScalars {
            let next = count + UTF8.width(scalar)
            if next > VICILimits.nameBytesMax { break }
            count = next
        }
        out.append(UInt8(count))
        out += name.utf8.prefix(count)
    }

    private static func append(value: [UInt8], to out: inout [UInt8]) {
        let count = min(value.count, VICILimits.valueBytesMax)
        out.append(UInt8(count >> 8))
        out.append(UInt8(count & 0xFF))
        out += value.prefix(count)
    }
}
