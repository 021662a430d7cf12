import Session
import SwiftProtobuf

extension MessageIDs {
    var wire: WireMessageIDs {
        WireMessageIDs.with {
            $0.send = send
            $0.receive = receive
        }
    }

    init(_ isThere: Bool, _ wire: WireMessageIDs, _ field: String) throws(PairWireError) {
        let wire = try WireField.present(isThere, wire, field)
        self.init(send: wire.send, receive: wire.receive)
    }
}

extension SyncRequest {
    var wire: WireSyncRequest {
        WireSyncRequest.with {
            $0.epoch = epoch
            $0.nonce = nonce
            $0.ids = ids.wire
            if let increment { $0.increment = increment }
            $0.datagram = WireField.bytes(datagram)
        }
    }

    init(_ wire: WireSyncRequest) throws(PairWireError) {
        self.init(
            epoch: wire.epoch, nonce: wire.nonce, ids: try MessageIDs(wire.hasIds, wire.ids, "SyncRequest.ids"),
            increment: wire.hasIncrement ? wire.increment : nil,
            datagram: try WireField.octets(wire.datagram, max: PairWireLimits.messageBytesMax, "SyncRequest.datagram"))
    }
}

extension SyncAnswer {
    var wire: WireSyncAnswer {
        WireSyncAnswer.with {
            $0.firstID = firstID
            if let response { $0.response = response.wire }
        }
    }

    init(_ wire: WireSyncAnswer) throws(PairWireError) {
        self.init(firstID: wire.firstID, response: wire.hasResponse ? try CachedResponse(wire.response) : nil)
    }
}
