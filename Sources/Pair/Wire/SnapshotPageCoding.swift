import Session
import SwiftProtobuf

/// A page of a snapshot as protobuf, session by session.
///
/// A protobuf message says its length first, and SwiftProtobuf finds it by going through all that is in the message, for each message
/// around it once more. A page put together of sessions that are encoded already saves two of these rounds; the octets are the same.
///
/// Decoding does as much: see `SessionReading`.
enum SnapshotPageCoding {
    /// Field numbers of `pair.proto`.
    private static let (frameSnapshotPage, pageSessions, pageReservations): (UInt8, UInt8, UInt8) = (5, 1, 2)

    static func encode(_ sessions: [Session], reservations: [Reservation]) -> [UInt8] {
        var page: [UInt8] = []
        for session in sessions { append(message(session.wire), as: pageSessions, to: &page) }
        for reservation in reservations { append(message(reservation.wire), as: pageReservations, to: &page) }
        var frame: [UInt8] = []
        frame.reserveCapacity(page.count + 8)
        append(page, as: frameSnapshotPage, to: &frame)
        return frame
    }

    /// - Returns: `nil` if the frame is another one.
    static func decode(_ frame: [UInt8]) throws(PairWireError) -> PairFrame? {
        try frame.withUnsafeBytes { raw in
            Result { () throws(PairWireError) in
                var reader = WireReader(raw)
                guard raw.first == frameSnapshotPage << 3 | 2, let field = try reader.next(), case .octets(let page) = field.value,
                    try reader.next() == nil
                else { return nil }
                return try decodePage(page)
            }
        }.get()
    }

    private static func decodePage(_ raw: UnsafeRawBufferPointer) throws(PairWireError) -> PairFrame {
        var reader = WireReader(raw)
        var (sessions, reservations) = (WireList<Session>(), WireList<Reservation>())
        let (sessionsMax, reservationsMax) = (PairProtocol.snapshotPageSessionsMax, PairProtocol.snapshotPageReservationsMax)
        while let field = try reader.next() {
            switch (field.number, field.value) {
            case (UInt64(pageSessions), .octets(let raw)):
                try sessions.add(max: sessionsMax) { () throws(PairWireError) in try Session(reading: raw) }
            case (UInt64(pageReservations), .octets(let raw)):
                try reservations.add(max: reservationsMax) { () throws(PairWireError) in try Reservation(WireReservation(reading: raw)) }
            default: break
            }
        }
        return .snapshotPage(
            try sessions.checked(max: sessionsMax, "SnapshotPage.sessions"),
            reservations: try reservations.checked(max: reservationsMax, "SnapshotPage.reservations"))
    }

    private static func message(_ wire: some Message) -> [UInt8] {
        // As with frames: there are no required fields.
        try! wire.serializedBytes()
    }

    /// A length-delimited field (wire type 2) with a number below 16, whose tag is one octet.
    private static func append(_ bytes: [UInt8], as field: UInt8, to out: inout [UInt8]) {
        out.append(field << 3 | 2)
        var length = UInt(bytes.count)
        while length >= 0x80 {
            out.append(UInt8(truncatingIfNeeded: length) | 0x80)
            length >>= 7
        }
        out.append(UInt8(length))
        out += bytes
    }
}
