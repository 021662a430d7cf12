import IKEWire

extension FuzzTarget {
    /// A datagram; and again with a length field that fits, which chance rarely finds.
    static let ikeMessage = FuzzTarget(
        name: "ike-message", seeds: { WireSeeds.messages.map { $0.encode() } },
        run: { bytes in
            for bytes in [bytes, fitted(bytes)] {
                guard let message = try? IKEMessage(parsing: bytes) else { continue }
                let again = try? IKEMessage(parsing: message.encode())
                try require(again == message, "said again it is \(String(describing: again)), not \(message)")
            }
        })

    /// The body of an SA payload.
    static let proposals = payload(
        "proposals", types: [PayloadType.securityAssociation], seeds: { [WireSeeds.offer] })

    /// The bodies of the payloads that name traffic and identities inside an IKE_AUTH.
    static let trafficSelectors = payload(
        "traffic-selectors",
        types: [
            PayloadType.trafficSelectorsInitiator, PayloadType.trafficSelectorsResponder, PayloadType.configuration,
            PayloadType.delete, PayloadType.notify, PayloadType.identificationInitiator,
        ], seeds: { WireSeeds.inner })

    /// - Parameter types: the first octet of an input chooses among them.
    private static func payload(_ name: String, types: [UInt8], seeds: @escaping @Sendable () -> [Payload]) -> FuzzTarget {
        FuzzTarget(
            name: name,
            seeds: {
                seeds().compactMap { payload in
                    types.firstIndex(of: payload.type).map { [UInt8($0)] + IKEMessage.encodePayloads([payload]).bytes.dropFirst(4) }
                }
            },
            run: { bytes in
                var input = FuzzInput(bytes)
                let type = types[Int(input.octet()) % types.count]
                let body = input.all()
                let chain = [0, 0] + FuzzInput.part([0, 0, 0, 0] + body).prefix(2) + body
                guard let payloads = try? IKEMessage.parsePayloads(first: type, bytes: chain) else { return }
                let encoded = IKEMessage.encodePayloads(payloads)
                let again = try? IKEMessage.parsePayloads(first: encoded.first, bytes: encoded.bytes)
                try require(again == payloads, "said again it is \(String(describing: again)), not \(payloads)")
            })
    }

    /// The message with its header's length field made to fit.
    static func fitted(_ message: [UInt8]) -> [UInt8] {
        guard message.count >= IKEHeader.length else { return message }
        var out = message
        for index in 0..<4 { out[24 + index] = UInt8(truncatingIfNeeded: message.count >> (24 - 8 * index)) }
        return out
    }
}

/// Messages and payloads of every kind.
enum WireSeeds {
    static let offer = Payload.securityAssociation([
        Proposal(
            number: 1, protocolID: .ike,
            transforms: [
                Transform(type: 1, id: 20, keyLength: 128), Transform(type: 2, id: 5), Transform(type: 4, id: 31),
                Transform(type: 4, id: 19),
            ]),
        Proposal(
            number: 2, protocolID: .esp, spi: [0xCA, 0xFE, 0xBA, 0xBE],
            transforms: [Transform(type: 1, id: 12, keyLength: 256), Transform(type: 3, id: 12), Transform(type: 5, id: 0)]),
    ])

    static let selector = WireTrafficSelector(
        type: 7, ipProtocol: 17, startPort: 100, endPort: 200, start: [10, 0, 0, 1], end: [10, 0, 0, 9])
    static let selector6 = WireTrafficSelector(
        type: 8, ipProtocol: 0, startPort: 0, endPort: 65535, start: [UInt8](repeating: 0, count: 16),
        end: [UInt8](repeating: 255, count: 16))

    static let inner: [Payload] = [
        .identificationInitiator(IdentificationPayload(kind: 2, data: Array("road.example.net".utf8))),
        .identificationResponder(IdentificationPayload(kind: 1, data: [192, 0, 2, 1])),
        .certificate(encoding: 4, data: [0x30, 0x03, 1, 1, 0]), .certificateRequest(encoding: 4, data: [UInt8](repeating: 6, count: 20)),
        .authentication(method: 2, data: [UInt8](repeating: 4, count: 32)),
        .notify(NotifyPayload(protocolID: .esp, spi: [1, 2, 3, 4], type: .rekeySA)), .notify(NotifyPayload(type: .initialContact)),
        .delete(DeletePayload(protocolID: .ike)), .delete(DeletePayload(protocolID: .esp, spis: [[1, 2, 3, 4], [5, 6, 7, 8]])),
        .configuration(
            ConfigurationPayload(
                type: ConfigurationType.request,
                attributes: [
                    ConfigurationAttribute(type: ConfigurationAttributeType.internalIP4Address),
                    ConfigurationAttribute(type: ConfigurationAttributeType.internalIP4DNS, value: [10, 9, 0, 2]),
                ])),
        .trafficSelectorsInitiator([selector, WireTrafficSelector(unknownType: 9, secondOctet: 1, body: [2, 3])]),
        .trafficSelectorsResponder([selector6]), .vendorID(Array("tandem".utf8)), .eap([1, 7, 0, 5, 1]),
        .unknown(type: 200, isCritical: true, body: [9, 9]),
    ]

    static let messages = [
        message(.ikeSAInit, [offer, .keyExchange(KeyExchangePayload(group: 31, data: [UInt8](repeating: 9, count: 32))), nonce]),
        message(.createChildSA, [offer, nonce] + inner),
        message(
            .ikeAuth,
            [
                .notify(NotifyPayload(type: .initialContact)),
                .encrypted(EncryptedPayload(firstPayload: 35, bodyOffset: 40, body: [UInt8](repeating: 5, count: 40))),
            ]),
        message(
            .ikeAuth,
            [
                .encryptedFragment(
                    EncryptedFragmentPayload(
                        firstPayload: 35, fragmentNumber: 1, totalFragments: 3, bodyOffset: 36, body: [UInt8](repeating: 7, count: 40)))
            ]),
    ]

    private static let nonce = Payload.nonce([UInt8](repeating: 8, count: 32))

    private static func message(_ exchange: ExchangeType, _ payloads: [Payload]) -> IKEMessage {
        IKEMessage(
            initiatorSPI: 0xC1C2_C3C4_C5C6_C7C8, responderSPI: exchange == .ikeSAInit ? 0 : 2, exchangeType: exchange, isInitiator: true,
            isResponse: false, messageID: 0, payloads: payloads)
    }
}
