extension WireTrafficSelector {
    /// Reads the body of a TS payload to its end (RFC 7296 §3.13).
    static func parseList(_ reader: inout ByteReader) throws(IKEWireError) -> [WireTrafficSelector] {
        let count = Int(try reader.uint8())
        try reader.skip(3)
        guard count > 0 else { throw .noSelectors }
        guard count <= IKEWireLimits.selectorsPerTSMax else { throw .tooManySelectors }
        var selectors: [WireTrafficSelector] = []
        for _ in 0..<count {
            guard !reader.isAtEnd else { throw .countMismatch(field: count, actual: selectors.count) }
            selectors.append(try WireTrafficSelector(&reader))
        }
        try reader.requireEnd()
        return selectors
    }

    private static let headerLength = 4

    private init(_ reader: inout ByteReader) throws(IKEWireError) {
        let type = try reader.uint8()
        let ipProtocol = try reader.uint8()
        let length = Int(try reader.uint16())
        guard length >= WireTrafficSelector.headerLength else { throw .badSelectorLength(type: type, length: length) }
        var body = try reader.part(length - WireTrafficSelector.headerLength)
        guard let addressLength = WireTrafficSelector.addressLength(ofType: type) else {
            self.init(unknownType: type, secondOctet: ipProtocol, body: body.takeRest())
            return
        }
        guard body.remaining == 4 + 2 * addressLength else { throw .badSelectorLength(type: type, length: length) }
        self.init(
            type: type, ipProtocol: ipProtocol, startPort: try body.uint16(), endPort: try body.uint16(),
            start: try body.take(addressLength), end: try body.take(addressLength))
        let isOpaque = startPort == .max && endPort == 0
        guard startPort <= endPort || isOpaque, !end.lexicographicallyPrecedes(start) else { throw .badSelectorRange }
    }

    private static func addressLength(ofType type: UInt8) -> Int? {
        switch type {
        case TrafficSelectorType.ipv4AddressRange: 4
        case TrafficSelectorType.ipv6AddressRange: 16
        default: nil
        }
    }

    static func encodeList(_ selectors: [WireTrafficSelector], into out: inout [UInt8]) {
        precondition(selectors.count <= 255, "more selectors than a TS payload's count field can say")
        out += [UInt8(selectors.count), 0, 0, 0]
        for selector in selectors {
            let start = out.count
            out += [selector.type, selector.ipProtocol, 0, 0]
            if selector.isUnknown {
                out += selector.unknownBody
            } else {
                out.append(bigEndian: selector.startPort)
                out.append(bigEndian: selector.endPort)
                out += selector.start + selector.end
            }
            out.setLength(at: start + 2, from: start)
        }
    }
}
