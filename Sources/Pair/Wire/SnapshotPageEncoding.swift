import Session
import SwiftProtobuf

/// A page of a snapshot as protobuf, session by session.
///
/// A protobuf message says its length first, and SwiftProtobuf finds it by going through all that is in the message, for each message
/// around it once more. A page put together of sessions that are encoded already saves two of these rounds; the octets are the same.
enum SnapshotPageEncoding {
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
