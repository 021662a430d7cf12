@testable import Control

extension FuzzTarget {
    /// A packet of the control socket without its length: as the daemon reads it from clients, and as clients read answers.
    static let vici = FuzzTarget(
        name: "vici", seeds: { try viciSeeds() },
        run: { bytes in
            if bytes.count >= 4, let length = try? VICIPacket.length(of: bytes.prefix(4)) {
                try require(length <= VICILimits.packetBytesMax, "a length of \(length)")
            }
            guard let packet = try? VICIPacket(parsing: bytes) else { return }
            let again = try? VICIPacket(parsing: Array(packet.encode().dropFirst(4)))
            try require(again == packet, "said again it is \(String(describing: again)), not \(packet)")
            switch packet {
            case .request(let command, let message): try expectStable(command: command, message)
            case .response(let message), .event(_, let message): try expectStable(message)
            default: break
            }
        })

    private static func expectStable(command: String, _ arguments: VICIMessage) throws {
        guard let request = try? ControlRequest(command: command, arguments: arguments), let said = request.vici() else { return }
        let again = try? ControlRequest(command: said.command, arguments: said.arguments)
        try require(again == request, "said again it is \(String(describing: again)), not \(request)")
    }

    private static func expectStable(_ message: VICIMessage) throws {
        func expect<Summary: Equatable>(_ summary: Summary?, _ again: (Summary) -> Summary?) throws {
            guard let summary else { return }
            let second = again(summary)
            try require(second == summary, "said again it is \(String(describing: second)), not \(summary)")
        }
        try expect(try? StatusSummary(vici: message)) { try? StatusSummary(vici: $0.vici()) }
        try expect(try? SASummary(vici: message)) { try? SASummary(vici: $0.tandemVICI()) }
        // What strongSwan's keys do not say is lost; it is not to trap.
        _ = try? ConnectionSummary(vici: message).vici()
        _ = try? SASummary(vici: message).vici()
        for summary in [
            try? StatusSummary(vici: message).json, try? SASummary(vici: message).json, try? SwitchoverSummary(vici: message).json,
        ] {
            _ = summary.map { "\($0)" }
        }
        if let status = try? StatusSummary(vici: message) {
            _ = WallTime(milliseconds: status.startedMilliseconds).description + WallTime.span(milliseconds: status.pairSinceMilliseconds)
        }
        try expect(try? StatsSummary(vici: message)) { try? StatsSummary(vici: $0.vici()) }
        try expect(try? EventSummary(vici: message)) { try? EventSummary(vici: $0.vici()) }
        try expect(try? SwitchoverSummary(vici: message)) { try? SwitchoverSummary(vici: $0.vici()) }
        try expect(try? TransferSummary(vici: message)) { try? TransferSummary(vici: $0.vici()) }
    }

    private static func viciSeeds() throws -> [[UInt8]] {
        let requests: [ControlRequest] = [
            .version, .findSessions(SessionFilter(includesHeld: true, connection: "road", uniqueID: 3, name: "anna")),
            .listPools(name: "road", withLeases: true), .initiate(InitiateRequest(child: "net", timeoutMilliseconds: 500)),
            .terminate(TerminateRequest(connection: "road", uniqueID: 7, force: true)), .switchover(force: true),
            .transfer(TransferRequest(name: "anna", direction: .to, gateway: "sg3")), .events(after: 12),
        ]
        var status = StatusSummary()
        status.addresses = [AddressSummary(address: "192.0.2.10/24", interface: "eth0", isHeld: true)]
        status.heartbeatPaths = [HeartbeatPathSummary(local: "10.1.0.1:4510", remote: "10.1.0.2:4510", isUp: true)]
        status.counters = ["ike_received": 7]
        var packets = requests.compactMap { $0.vici() }.map { VICIPacket.request(command: $0.command, $0.arguments) }
        packets += [.response(status.vici()), .register(event: "log"), .confirmed]
        var list = VICIMessage()
        list.add("conns", list: ["road", "site"])
        list.add("net", section: status.vici())
        packets.append(.event(name: "list-sa", list))
        return try packets.map { Array(try $0.encode().dropFirst(4)) }
    }
}
