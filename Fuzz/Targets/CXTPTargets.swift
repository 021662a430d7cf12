import Context
import Cryptography
import Session

extension FuzzTarget {
    /// CXTP messages of another gateway, the parts of a context in them, and a context's counters.
    static let cxtp = FuzzTarget(
        name: "cxtp", seeds: { try cxtpSeeds() },
        run: { bytes in
            guard let message = try? CXTPMessage(parsing: bytes) else { return }
            try require((try? CXTPMessage.length(of: bytes)) == bytes.count, "the length of a whole message is another")
            let again = (try? message.encode()).flatMap { try? CXTPMessage(parsing: $0) }
            try require(again == message, "said again it is \(String(describing: again)), not \(message)")
            guard case .data(let data) = message else { return }
            var assembler = ContextAssembler()
            for block in data.blocks {
                let context = (try? assembler.add(block)) ?? nil
                try require(context?.count ?? 0 <= CXTPLimits.contextBytesMax, "a context beyond the limit")
                if let counters = try? ContextCounters(block) {
                    try require((try? ContextCounters(counters.block)) == counters, "other counters")
                }
            }
        })

    private static func cxtpSeeds() throws -> [[UInt8]] {
        let (client, gateway) = (IPAddress("192.0.2.7")!, IPAddress("198.51.100.1")!)
        let client6 = IPAddress("2001:db8::7")!
        let named = [ContextDataBlock(.ipsecContext)]
        let counters = ContextCounters(transfer: 7, nextSendID: 1, nextReceiveID: 2, inbound: [.init(spi: 3, top: 4)])
        let context = try ContextDataBlock.blocks(of: Array("{\"schema\":1}".utf8), transfer: 7)
        let messages: [CXTPMessage] = [
            .activateRequest(
                ActivateRequest(
                    wantsAcknowledgement: true, mobileNode: client, otherGateway: gateway, sequenceNumber: 1, token: 2, blocks: named)),
            .activateAcknowledge(ActivateAcknowledge(mobileNode: client6, failures: [ProfileStatus(.ipsecContext, .busy)])),
            .data(ContextData(wantsReply: true, elapsedMilliseconds: 3, mobileNode: client6, blocks: [counters.block])),
            .data(
                ContextData(
                    wantsReply: true, elapsedMilliseconds: 0, mobileNode: client,
                    tokenKey: TokenKey(algorithm: 1, key: SecretBytes([1, 2, 3, 4])), blocks: context)),
            .dataReply(DataReply(isSuccess: true, mobileNode: client, statuses: [ProfileStatus(.ipsecContext, .success)])),
            .cancel(client), .request(ContextRequest(mobileNode: client, sequenceNumber: 5, token: 0, blocks: named)),
        ]
        return try messages.map { try $0.encode() }
    }
}
