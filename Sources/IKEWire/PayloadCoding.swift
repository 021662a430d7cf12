extension Payload {
    /// Reads the body of a payload: what follows its generic header. Encrypted payloads are read by `IKEMessage`.
    init(type: UInt8, isCritical: Bool, body reader: inout ByteReader) throws(IKEWireError) {
        switch type {
        case PayloadType.securityAssociation: self = .securityAssociation(try Proposal.parseList(&reader))
        case PayloadType.keyExchange: self = .keyExchange(try KeyExchangePayload(&reader))
        case PayloadType.identificationInitiator: self = .identificationInitiator(try IdentificationPayload(&reader))
        case PayloadType.identificationResponder: self = .identificationResponder(try IdentificationPayload(&reader))
        case PayloadType.certificate: self = .certificate(encoding: try reader.uint8(), data: reader.takeRest())
        case PayloadType.certificateRequest: self = .certificateRequest(encoding: try reader.uint8(), data: reader.takeRest())
        case PayloadType.authentication: self = try Payload.authentication(&reader)
        case PayloadType.nonce: self = try Payload.nonce(&reader)
        case PayloadType.notify: self = .notify(try NotifyPayload(&reader))
        case PayloadType.delete: self = .delete(try DeletePayload(&reader))
        case PayloadType.vendorID: self = .vendorID(reader.takeRest())
        case PayloadType.trafficSelectorsInitiator: self = .trafficSelectorsInitiator(try WireTrafficSelector.parseList(&reader))
        case PayloadType.trafficSelectorsResponder: self = .trafficSelectorsResponder(try WireTrafficSelector.parseList(&reader))
        case PayloadType.configuration: self = .configuration(try ConfigurationPayload(&reader))
        case PayloadType.eap: self = try Payload.eap(&reader)
        default: self = .unknown(type: type, isCritical: isCritical, body: reader.takeRest())
        }
        try reader.requireEnd()
    }

    private static func authentication(_ reader: inout ByteReader) throws(IKEWireError) -> Payload {
        let method = try reader.uint8()
        try reader.skip(3)
        return .authentication(method: method, data: reader.takeRest())
    }

    private static func nonce(_ reader: inout ByteReader) throws(IKEWireError) -> Payload {
        guard IKEWireLimits.nonceLengthRange.contains(reader.remaining) else { throw .badNonceLength(reader.remaining) }
        return .nonce(reader.takeRest())
    }

    private static func eap(_ reader: inout ByteReader) throws(IKEWireError) -> Payload {
        let message = reader.takeRest()
        // RFC 3748 §4: code, identifier and a length that counts them.
        guard message.count >= 4, Int(message[2]) << 8 | Int(message[3]) == message.count else { throw .badEAPLength(message.count) }
        return .eap(message)
    }

    /// Appends what follows the generic header.
    func encodeBody(into out: inout [UInt8]) {
        switch self {
        case .securityAssociation(let proposals): Proposal.encodeList(proposals, into: &out)
        case .keyExchange(let payload): payload.encode(into: &out)
        case .identificationInitiator(let payload), .identificationResponder(let payload): out += payload.bodyBytes
        case .certificate(let encoding, let data), .certificateRequest(let encoding, let data): out += [encoding] + data
        case .authentication(let method, let data): out += [method, 0, 0, 0] + data
        case .notify(let payload): payload.encode(into: &out)
        case .delete(let payload): payload.encode(into: &out)
        case .trafficSelectorsInitiator(let selectors), .trafficSelectorsResponder(let selectors):
            WireTrafficSelector.encodeList(selectors, into: &out)
        case .configuration(let payload): payload.encode(into: &out)
        case .encryptedFragment(let payload): payload.encode(into: &out)
        case .encrypted(let payload): out += payload.body
        case .nonce(let data), .vendorID(let data), .eap(let data), .unknown(_, _, let data): out += data
        }
    }
}

extension KeyExchangePayload {
    fileprivate init(_ reader: inout ByteReader) throws(IKEWireError) {
        group = try reader.uint16()
        try reader.skip(2)
        data = reader.takeRest()
    }

    fileprivate func encode(into out: inout [UInt8]) {
        out.append(bigEndian: group)
        out += [0, 0] + data
    }
}

extension IdentificationPayload {
    fileprivate init(_ reader: inout ByteReader) throws(IKEWireError) {
        kind = try reader.uint8()
        try reader.skip(3)
        data = reader.takeRest()
    }
}

extension NotifyPayload {
    fileprivate init(_ reader: inout ByteReader) throws(IKEWireError) {
        protocolID = ProtocolID(rawValue: try reader.uint8())
        let spiSize = Int(try reader.uint8())
        type = NotifyType(rawValue: try reader.uint16())
        guard NotifyPayload.allows(spiSize: spiSize, for: protocolID) else {
            throw .badSPISize(protocolID: protocolID, size: spiSize)
        }
        spi = try reader.take(spiSize)
        data = reader.takeRest()
    }

    /// RFC 7296 §3.10: no SPI for the IKE SA; no judgement of a protocol that we do not know.
    private static func allows(spiSize: Int, for protocolID: ProtocolID) -> Bool {
        switch protocolID {
        case .ike: spiSize == 0
        case .ah, .esp: spiSize == 0 || spiSize == 4
        default: true
        }
    }

    fileprivate func encode(into out: inout [UInt8]) {
        precondition(spi.count <= 255, "an SPI of \(spi.count) octets")
        out += [protocolID.rawValue, UInt8(spi.count)]
        out.append(bigEndian: type.rawValue)
        out += spi + data
    }
}

extension DeletePayload {
    fileprivate init(_ reader: inout ByteReader) throws(IKEWireError) {
        protocolID = ProtocolID(rawValue: try reader.uint8())
        let size = Int(try reader.uint8())
        let count = Int(try reader.uint16())
        switch protocolID {
        case .ike:
            guard size == 0 else { throw .badSPISize(protocolID: protocolID, size: size) }
            guard count == 0 else { throw .countMismatch(field: count, actual: 0) }
        case .ah, .esp:
            guard size == 4 else { throw .badSPISize(protocolID: protocolID, size: size) }
        default:
            throw .badProtocol(protocolID)
        }
        guard count <= IKEWireLimits.spisPerDeleteMax else { throw .tooManySPIs }
        spis = []
        for _ in 0..<count { spis.append(try reader.take(size)) }
    }

    fileprivate func encode(into out: inout [UInt8]) {
        let size = protocolID == .ike ? 0 : 4
        precondition(spis.allSatisfy { $0.count == size } && spis.count <= Int(UInt16.max), "SPIs that a Delete payload cannot say")
        out += [protocolID.rawValue, UInt8(size)]
        out.append(bigEndian: UInt16(spis.count))
        out += spis.joined()
    }
}

extension ConfigurationPayload {
    fileprivate init(_ reader: inout ByteReader) throws(IKEWireError) {
        type = try reader.uint8()
        try reader.skip(3)
        attributes = []
        while !reader.isAtEnd {
            guard attributes.count < IKEWireLimits.attributesPerConfigurationMax else { throw .tooManyAttributes }
            // RFC 7296 §3.15.1: the top bit is reserved and ignored.
            let attributeType = try reader.uint16() & 0x7FFF
            let length = Int(try reader.uint16())
            guard ConfigurationPayload.allows(length: length, for: attributeType) else {
                throw .badAttributeLength(type: attributeType, length: length)
            }
            attributes.append(ConfigurationAttribute(type: attributeType, value: try reader.take(length)))
        }
    }

    /// RFC 7296 §3.15.1. Any attribute may be empty in a request; an IPv6 address without its prefix length (RFC 4306 clients)
    /// is let through.
    private static func allows(length: Int, for type: UInt16) -> Bool {
        switch type {
        case ConfigurationAttributeType.internalIP4Address, ConfigurationAttributeType.internalIP4Netmask,
            ConfigurationAttributeType.internalIP4DNS, ConfigurationAttributeType.internalIP4NBNS,
            ConfigurationAttributeType.internalIP4DHCP:
            length == 0 || length == 4
        case ConfigurationAttributeType.internalIP6Address: length == 0 || length == 16 || length == 17
        case ConfigurationAttributeType.internalIP6DNS, ConfigurationAttributeType.internalIP6DHCP: length == 0 || length == 16
        case ConfigurationAttributeType.internalIP4Subnet: length == 0 || length == 8
        case ConfigurationAttributeType.internalIP6Subnet: length == 0 || length == 17
        case ConfigurationAttributeType.supportedAttributes: length % 2 == 0
        default: true
        }
    }

    fileprivate func encode(into out: inout [UInt8]) {
        out += [type, 0, 0, 0]
        for attribute in attributes {
            precondition(attribute.value.count <= Int(UInt16.max), "an attribute of \(attribute.value.count) octets")
            out.append(bigEndian: attribute.type & 0x7FFF)
            out.append(bigEndian: UInt16(attribute.value.count))
            out += attribute.value
        }
    }
}

extension EncryptedFragmentPayload {
    /// The two fields before the IV.
    static let headerLength = 4

    init(firstPayload: UInt8, body reader: inout ByteReader) throws(IKEWireError) {
        self.firstPayload = firstPayload
        fragmentNumber = try reader.uint16()
        totalFragments = try reader.uint16()
        bodyOffset = reader.offset
        body = reader.takeRest()
        guard fragmentNumber >= 1, fragmentNumber <= totalFragments, fragmentNumber == 1 || firstPayload == 0 else {
            throw .badFragmentNumber(number: fragmentNumber, total: totalFragments)
        }
    }

    fileprivate func encode(into out: inout [UInt8]) {
        out.append(bigEndian: fragmentNumber)
        out.append(bigEndian: totalFragments)
        out += body
    }
}
