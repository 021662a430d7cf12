public import Cryptography

/// Why a packet was dropped. Each reason has a counter of its own, named `name`; none of them does more than drop the packet.
public enum ESPError: UInt8, Error, CaseIterable, Hashable, Sendable {
    // From the peer.
    /// The node does not own its sessions, or is not allowed to take packets.
    case inboundGateClosed = 0
    /// RFC 4303 §3.4.2: no SA has this SPI.
    case unknownSPI
    /// Too short for header, IV, trailer and ICV, or not whole cipher blocks.
    case badLength
    /// RFC 4303 §3.4.3: a number that was already accepted.
    case replayDuplicate
    /// RFC 4303 §3.4.3: a number below the replay window, or zero.
    case replayTooOld
    /// RFC 4303 §3.4.4: the ICV is not that of the packet.
    case authenticationFailed
    /// RFC 4303 §2.4: authentic, but the padding is not 1, 2, 3, … or longer than the packet.
    case badPadding
    /// RFC 4303 §2.6: a dummy packet (next header 59), discarded without prejudice.
    case dummyPacket
    /// Authentic, but neither an IPv4 nor an IPv6 packet (RFC 4303 §2.6).
    case unsupportedNextHeader
    /// Authentic, but its lengths are not those of an IP packet.
    case malformedInboundPacket
    /// Authentic, but not between the addresses that the SA is for (RFC 4301 §5.2 step 4).
    case selectorMismatch

    // To the peer.
    /// The node must not send now.
    case outboundGateClosed
    /// Not a whole IPv4 or IPv6 packet.
    case malformedOutboundPacket
    /// No CHILD SA is for this packet. It never passes in clear.
    case noPolicy
    /// Every number that the node may use has been used (law 3).
    case leaseExhausted
    /// The packet with its header and trailer does not fit the buffer.
    case tooLong
    /// The cipher refused: a fault of the library, never of a packet.
    case sealFailed

    /// The counter's name, stable.
    public var name: String {
        switch self {
        case .inboundGateClosed: "in_gate_closed"
        case .unknownSPI: "in_unknown_spi"
        case .badLength: "in_bad_length"
        case .replayDuplicate: "in_replay_duplicate"
        case .replayTooOld: "in_replay_too_old"
        case .authenticationFailed: "in_authentication_failed"
        case .badPadding: "in_bad_padding"
        case .dummyPacket: "in_dummy_packet"
        case .unsupportedNextHeader: "in_unsupported_next_header"
        case .malformedInboundPacket: "in_malformed_packet"
        case .selectorMismatch: "in_selector_mismatch"
        case .outboundGateClosed: "out_gate_closed"
        case .malformedOutboundPacket: "out_malformed_packet"
        case .noPolicy: "out_no_policy"
        case .leaseExhausted: "out_lease_exhausted"
        case .tooLong: "out_too_long"
        case .sealFailed: "out_seal_failed"
        }
    }
}

/// Why a command could not be carried out.
public enum SADatabaseError: Error, Hashable, Sendable {
    /// Only tunnel mode is done here; transport mode needs the kernel's data plane.
    case transportModeUnsupported
    /// A CHILD SA without selectors on one side, or with more than `PolicyTable.prefixCountMax` prefixes.
    case badSelectors
    /// The keys do not fit the algorithms.
    case badKeys(CryptographyError)
    /// A lease or a replay counter for a CHILD SA that is not installed.
    case unknownChildSA(inboundSPI: UInt32)
}
