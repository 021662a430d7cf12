import IKEWire
import Testing

@Suite struct LimitTests {
    /// Codes `count` of something and reads it back.
    private func read(_ payloads: [Payload]) throws {
        let encoded = IKEMessage.encodePayloads(payloads)
        let parsed = try IKEMessage.parsePayloads(first: encoded.first, bytes: encoded.bytes)
        #expect(parsed == payloads)
    }

    private func expectLimit(_ limit: Int, _ error: IKEWireError, _ make: (Int) -> [Payload]) {
        #expect(throws: Never.self) { try read(make(limit)) }
        #expect(throws: error) { try read(make(limit + 1)) }
    }

    @Test func payloads_whenMoreThanTheLimit_throw() {
        expectLimit(IKEWireLimits.payloadsPerMessageMax, .tooManyPayloads) { Array(repeating: .vendorID([]), count: $0) }
    }

    @Test func proposals_whenMoreThanTheLimit_throw() {
        expectLimit(IKEWireLimits.proposalsPerSAMax, .tooManyProposals) { count in
            let transforms = [Transform(type: 1, id: 12)]
            return [.securityAssociation((1...count).map { Proposal(number: UInt8($0), protocolID: .ike, transforms: transforms) })]
        }
    }

    @Test func transforms_whenMoreThanTheLimit_throw() {
        expectLimit(IKEWireLimits.transformsPerProposalMax, .tooManyTransforms) { count in
            let transforms = (0..<count).map { Transform(type: 1, id: UInt16($0)) }
            return [.securityAssociation([Proposal(number: 1, protocolID: .ike, transforms: transforms)])]
        }
    }

    @Test func transformAttributes_whenMoreThanTheLimit_throw() {
        expectLimit(IKEWireLimits.attributesPerTransformMax, .tooManyAttributes) { count in
            let attributes = (0..<count).map { TransformAttribute(type: UInt16(100 + $0), value: .fixed(0)) }
            let transform = Transform(type: 1, id: 1, unknownAttributes: attributes)
            return [.securityAssociation([Proposal(number: 1, protocolID: .ike, transforms: [transform])])]
        }
    }

    @Test func selectors_whenMoreThanTheLimit_throw() {
        expectLimit(IKEWireLimits.selectorsPerTSMax, .tooManySelectors) { count in
            let one = WireTrafficSelector(type: 7, ipProtocol: 0, startPort: 0, endPort: 65535, start: [1, 1, 1, 1], end: [1, 1, 1, 1])
            return [.trafficSelectorsResponder(Array(repeating: one, count: count))]
        }
    }

    @Test func configurationAttributes_whenMoreThanTheLimit_throw() {
        expectLimit(IKEWireLimits.attributesPerConfigurationMax, .tooManyAttributes) { count in
            [.configuration(ConfigurationPayload(type: 1, attributes: Array(repeating: ConfigurationAttribute(type: 1), count: count)))]
        }
    }

    @Test func spis_whenMoreThanTheLimit_throw() {
        expectLimit(IKEWireLimits.spisPerDeleteMax, .tooManySPIs) { count in
            [.delete(DeletePayload(protocolID: .esp, spis: Array(repeating: [1, 2, 3, 4], count: count)))]
        }
    }
}
