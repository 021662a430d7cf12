extension Proposal {
    /// Reads the body of a Security Association payload to its end.
    static func parseList(_ reader: inout ByteReader) throws(IKEWireError) -> [Proposal] {
        var proposals: [Proposal] = []
        while !reader.isAtEnd {
            guard proposals.count < IKEWireLimits.proposalsPerSAMax else { throw .tooManyProposals }
            var body = try reader.substructure(moreFollow: Proposal.moreFollow)
            let proposal = try Proposal(body: &body)
            // RFC 7296 §3.3: each number is one greater than the one before. The first is 1 in an offer, any in an acceptance.
            if let last = proposals.last, proposal.number != last.number &+ 1 { throw .badProposalNumber(proposal.number) }
            proposals.append(proposal)
        }
        guard let first = proposals.first else { throw .noProposals }
        guard proposals.count == 1 || first.number == 1 else { throw .badProposalNumber(first.number) }
        return proposals
    }

    private static let moreFollow: UInt8 = 2

    private init(body: inout ByteReader) throws(IKEWireError) {
        number = try body.uint8()
        protocolID = ProtocolID(rawValue: try body.uint8())
        let spiSize = Int(try body.uint8())
        let transformCount = Int(try body.uint8())
        guard Proposal.allows(spiSize: spiSize, for: protocolID) else { throw .badSPISize(protocolID: protocolID, size: spiSize) }
        guard transformCount <= IKEWireLimits.transformsPerProposalMax else { throw .tooManyTransforms }
        spi = try body.take(spiSize)
        transforms = []
        while !body.isAtEnd {
            guard transforms.count < IKEWireLimits.transformsPerProposalMax else { throw .tooManyTransforms }
            var part = try body.substructure(moreFollow: Transform.moreFollow)
            transforms.append(try Transform(body: &part))
        }
        guard !transforms.isEmpty else { throw .noTransforms }
        guard transforms.count == transformCount else { throw .countMismatch(field: transformCount, actual: transforms.count) }
    }

    /// RFC 7296 §3.3.1. A proposal for an unknown protocol is for the caller to pass over, whatever its SPI is.
    private static func allows(spiSize: Int, for protocolID: ProtocolID) -> Bool {
        switch protocolID {
        case .ike: spiSize == 0 || spiSize == 8
        case .ah, .esp: spiSize == 4
        default: true
        }
    }

    static func encodeList(_ proposals: [Proposal], into out: inout [UInt8]) {
        for (index, proposal) in proposals.enumerated() {
            let start = out.count
            out += [index == proposals.count - 1 ? 0 : moreFollow, 0, 0, 0]
            precondition(proposal.spi.count <= 255 && proposal.transforms.count <= 255, "more than a proposal's count fields can say")
            out += [proposal.number, proposal.protocolID.rawValue, UInt8(proposal.spi.count), UInt8(proposal.transforms.count)]
            out += proposal.spi
            for (index, transform) in proposal.transforms.enumerated() {
                transform.encode(isLast: index == proposal.transforms.count - 1, into: &out)
            }
            out.setLength(at: start + 2, from: start)
        }
    }
}

extension Transform {
    fileprivate static let moreFollow: UInt8 = 3
    private static let fixedFormat: UInt16 = 0x8000

    fileprivate init(body: inout ByteReader) throws(IKEWireError) {
        self.init(type: try body.uint8(), id: 0)
        try body.skip(1)
        id = try body.uint16()
        var seen: [UInt16] = []
        while !body.isAtEnd {
            guard seen.count < IKEWireLimits.attributesPerTransformMax else { throw .tooManyAttributes }
            let field = try body.uint16()
            let lengthOrValue = try body.uint16()
            let attributeType = field & ~Transform.fixedFormat
            guard !seen.contains(attributeType) else { throw .duplicateAttribute(attributeType) }
            seen.append(attributeType)
            if field & Transform.fixedFormat == 0 {
                // RFC 7296 §3.3.5: a Key Length never has this format, so that one that does is not understood either.
                let value = try body.take(Int(lengthOrValue))
                unknownAttributes.append(TransformAttribute(type: attributeType, value: .variable(value)))
            } else if attributeType == TransformAttributeType.keyLength {
                keyLength = lengthOrValue
            } else {
                unknownAttributes.append(TransformAttribute(type: attributeType, value: .fixed(lengthOrValue)))
            }
        }
    }

    fileprivate func encode(isLast: Bool, into out: inout [UInt8]) {
        let start = out.count
        out += [isLast ? 0 : Transform.moreFollow, 0, 0, 0, type, 0]
        out.append(bigEndian: id)
        if let keyLength {
            out.append(bigEndian: Transform.fixedFormat | TransformAttributeType.keyLength)
            out.append(bigEndian: keyLength)
        }
        for attribute in unknownAttributes {
            switch attribute.value {
            case .fixed(let value):
                out.append(bigEndian: Transform.fixedFormat | attribute.type)
                out.append(bigEndian: value)
            case .variable(let value):
                precondition(value.count <= Int(UInt16.max), "an attribute of \(value.count) octets")
                out.append(bigEndian: attribute.type & ~Transform.fixedFormat)
                out.append(bigEndian: UInt16(value.count))
                out += value
            }
        }
        out.setLength(at: start + 2, from: start)
    }
}

extension ByteReader {
    /// The inside of the next proposal or transform: Last Substruc, RESERVED and the length are read and checked.
    ///
    /// `moreFollow` is what Last Substruc must be when something follows; it must be 0 when nothing does.
    fileprivate mutating func substructure(moreFollow: UInt8) throws(IKEWireError) -> ByteReader {
        let last = try uint8()
        try skip(1)
        let length = Int(try uint16())
        guard length >= 4 else { throw .truncated }
        let body = try part(length - 4)
        guard last == (isAtEnd ? 0 : moreFollow) else { throw .badLastSubstructure(last) }
        return body
    }
}
