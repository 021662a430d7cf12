import Session
import SwiftProtobuf

extension MergePage {
    var wire: WireMergePage {
        WireMergePage.with {
            $0.sessions = sessions.map { item in
                WireMergedSession.with {
                    $0.session = item.session.wire
                    $0.hasEnded_p = item.hasEnded
                    if let silence = item.silence { $0.silenceMicroseconds = silence.wireMicroseconds }
                }
            }
            $0.ended = ended.map { ending in
                WireEndedSession.with {
                    $0.session = ending.session.rawValue
                    $0.silenceMicroseconds = ending.silence.wireMicroseconds
                    $0.wasDetached = ending.wasDetached
                }
            }
            $0.endedChildren = endedChildren
            $0.endedIkeSas = endedIKESAs
            $0.reservations = reservations.map(\.wire)
            $0.spentSlices = spentSlices.map { spent in
                WireSpentSlice.with { ($0.inboundSpi, $0.slice) = (spent.inboundSPI, spent.slice) }
            }
        }
    }

    init(_ wire: WireMergePage) throws(PairWireError) {
        self.init()
        sessions = try WireField.list(wire.sessions, max: MergePage.sessionsMax, "MergePage.sessions") { (item) throws(PairWireError) in
            Item(
                try Session(WireField.present(item.hasSession, item.session, "MergedSession.session")),
                silence: item.hasSilenceMicroseconds
                    ? try Duration(wireMicroseconds: item.silenceMicroseconds, "MergedSession.silence_microseconds") : nil,
                hasEnded: item.hasEnded_p)
        }
        ended = try WireField.list(wire.ended, max: MergePage.endingsMax, "MergePage.ended") { (ending) throws(PairWireError) in
            Ending(
                session: SessionID(rawValue: ending.session),
                silence: try Duration(wireMicroseconds: ending.silenceMicroseconds, "EndedSession.silence_microseconds"),
                wasDetached: ending.wasDetached)
        }
        endedChildren = try WireField.list(wire.endedChildren, max: MergePage.endingsMax, "MergePage.ended_children") { $0 }
        endedIKESAs = try WireField.list(wire.endedIkeSas, max: MergePage.endingsMax, "MergePage.ended_ike_sas") { $0 }
        reservations = try WireField.list(
            wire.reservations, max: PairProtocol.snapshotPageReservationsMax, "MergePage.reservations"
        ) { (reservation) throws(PairWireError) in try Reservation(reservation) }
        spentSlices = try WireField.list(wire.spentSlices, max: MergePage.endingsMax, "MergePage.spent_slices") {
            SpentSlice(inboundSPI: $0.inboundSpi, slice: $0.slice)
        }
    }
}

extension Duration {
    fileprivate var wireMicroseconds: UInt64 { UInt64(max(0, self / .microseconds(1))) }

    fileprivate init(wireMicroseconds: UInt64, _ field: String) throws(PairWireError) {
        self = .microseconds(Int64(try WireField.bounded(wireMicroseconds, 0...PairWireLimits.silenceMicrosecondsMax, field)))
    }
}
