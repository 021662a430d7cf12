import Session
import SwiftProtobuf

/// `StateBatch` as protobuf and back. Whatever the bytes, decoding ends with a batch or with a `PairWireError`.
public enum StateBatchCodec {
    /// With keys in it: to be sealed at once.
    public static func encode(_ batch: StateBatch) -> [UInt8] {
        // Fails only for messages with required fields, of which there are none, or beyond 2 GiB, which limits preclude.
        try! batch.wire.serializedBytes()
    }

    public static func decode(_ bytes: [UInt8]) throws(PairWireError) -> StateBatch {
        guard bytes.count <= StateFile.contentBytesMax else { throw .frameTooLarge(bytes.count) }
        let wire: WireStateBatch
        do { wire = try WireStateBatch(serializedBytes: bytes) } catch { throw .malformed }
        return try StateBatch(wire)
    }
}

extension StateBatch {
    var wire: WireStateBatch {
        WireStateBatch.with {
            $0.head = head.wire
            $0.sessions = sessions.map(\.wire)
            $0.ended = ended.map(\.rawValue)
            $0.reservations = reservations.map(\.wire)
            $0.departures = departures.map(\.wire)
        }
    }

    init(_ wire: WireStateBatch) throws(PairWireError) {
        self.init(
            head: try StateHead(WireField.present(wire.hasHead, wire.head, "StateBatch.head")),
            sessions: try WireField.list(wire.sessions, max: StateBatch.sessionsMax, "StateBatch.sessions") {
                (session) throws(PairWireError) in try Session(session)
            },
            ended: try WireField.list(wire.ended, max: StateBatch.endedMax, "StateBatch.ended") { (id) throws(PairWireError) in
                SessionID(rawValue: id)
            },
            reservations: try WireField.list(wire.reservations, max: StateBatch.reservationsMax, "StateBatch.reservations") {
                (reservation) throws(PairWireError) in try Reservation(reservation)
            },
            departures: try WireField.list(wire.departures, max: StateBatch.departuresMax, "StateBatch.departures") {
                (departure) throws(PairWireError) in try StoredDeparture(departure)
            })
    }
}

extension StateHead {
    fileprivate var wire: WireStateHead {
        WireStateHead.with {
            $0.node = UInt32(node.rawValue)
            $0.epoch = epoch
            $0.epochLimit = epochLimit
            $0.atWallMilliseconds = atWallMilliseconds
        }
    }

    fileprivate init(_ wire: WireStateHead) throws(PairWireError) {
        self.init(
            node: try WireField.enumeration(wire.node, NodeID.self, "StateHead.node"),
            epoch: try WireField.epoch(wire.epoch, "StateHead.epoch"),
            epochLimit: try WireField.epoch(wire.epochLimit, "StateHead.epoch_limit"),
            atWallMilliseconds: try WireField.wallMilliseconds(wire.atWallMilliseconds, "StateHead.at_wall_milliseconds"))
    }
}

extension StoredDeparture {
    fileprivate var wire: WireStoredDeparture {
        WireStoredDeparture.with {
            $0.spent = spent.sorted { $0.key < $1.key }.map { spi, spent in
                WireSpentEpochs.with {
                    $0.localSpi = spi
                    $0.spent = UInt32(spent)
                }
            }
        }
    }

    fileprivate init(_ wire: WireStoredDeparture) throws(PairWireError) {
        let spent = try WireField.list(wire.spent, max: 1 + Session.otherIKESAsMax, "StoredDeparture.spent") {
            (entry) throws(PairWireError) in
            (entry.localSpi, try WireField.narrow(entry.spent, to: UInt16.self, "SpentEpochs.spent"))
        }
        self.init(spent: Dictionary(spent) { max($0, $1) })
    }
}
