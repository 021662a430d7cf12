import Synchronization

/// What the packet loop counts.
enum PacketCounter: Int, CaseIterable {
    case ikeReceived, ikeSent, ikeQueueFull, ikeNoSocket, ikeSendFailed
    case keepaliveReceived, keepaliveSent, malformedDatagram, truncatedDatagram, receiveFailed, descriptorLost
    case espReceived, espWithoutDataPlane, espSent, espNoSocket, espSendFailed
    case tunReceived, tunReadFailed, tunSent, tunWriteFailed

    /// The counter's name, stable.
    var name: String {
        switch self {
        case .ikeReceived: "ike_received"
        case .ikeSent: "ike_sent"
        case .ikeQueueFull: "ike_queue_full"
        case .ikeNoSocket: "ike_no_socket"
        case .ikeSendFailed: "ike_send_failed"
        case .keepaliveReceived: "keepalive_received"
        case .keepaliveSent: "keepalive_sent"
        case .malformedDatagram: "malformed_datagram"
        case .truncatedDatagram: "truncated_datagram"
        case .receiveFailed: "receive_failed"
        case .descriptorLost: "descriptor_lost"
        case .espReceived: "esp_received"
        case .espWithoutDataPlane: "esp_without_data_plane"
        case .espSent: "esp_sent"
        case .espNoSocket: "esp_no_socket"
        case .espSendFailed: "esp_send_failed"
        case .tunReceived: "tun_received"
        case .tunReadFailed: "tun_read_failed"
        case .tunSent: "tun_sent"
        case .tunWriteFailed: "tun_write_failed"
        }
    }
}

/// One number for each `PacketCounter`, added to by any thread.
///
/// Unchecked: the memory is fixed for the object's life and holds nothing but atomics.
final class PacketCounters: @unchecked Sendable {
    private let values: UnsafeMutablePointer<Atomic<UInt64>>

    init() {
        values = .allocate(capacity: PacketCounter.allCases.count)
        for index in 0..<PacketCounter.allCases.count { (values + index).initialize(to: Atomic(0)) }
    }

    deinit {
        values.deinitialize(count: PacketCounter.allCases.count)
        values.deallocate()
    }

    func add(_ counter: PacketCounter, _ count: Int = 1) {
        guard count > 0 else { return }
        values[counter.rawValue].wrappingAdd(UInt64(count), ordering: .relaxed)
    }

    /// All of them by name.
    var byName: [String: UInt64] {
        Dictionary(uniqueKeysWithValues: PacketCounter.allCases.map { ($0.name, values[$0.rawValue].load(ordering: .relaxed)) })
    }
}
