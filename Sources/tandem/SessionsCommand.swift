import ArgumentParser
import Control

struct SessionsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sessions", abstract: "Show the sessions, owned and held, with their CHILD SAs.")

    @Argument(help: "A connection, a peer's identity or address, a leased address, or a session's number; without it all.")
    var name: String?

    @OptionGroup var socketOptions: SocketOptions
    @OptionGroup var format: FormatOptions

    func run() throws {
        try reportingErrors {
            let client = try ControlClient(path: socketOptions.socket)
            try client.register(ControlEventName.tandemSession)
            let request = ControlRequest.findSessions(SessionFilter(includesHeld: true, name: name))
            var sessions: [JSON] = []
            var count = 0
            _ = try client.query(request) { _, message throws(VICIError) in
                let session = try SASummary(vici: message)
                count += 1
                if format.json { sessions.append(session.json) } else { print(SessionText(session: session).text) }
            }
            if format.json { print(JSON.object([JSON.Member("sessions", .array(sessions))]).text) }
            guard count == 0 else { return }
            if let name { throw complaint("no session '\(name)'") }
            if !format.json { print("no sessions") }
        }
    }
}

/// One session for people.
struct SessionText {
    let session: SASummary

    var text: String {
        let spis =
            "\(hex(session.initiatorSPI))_i\(session.isInitiator ? "*" : "") \(hex(session.responderSPI))_r\(session.isInitiator ? "" : "*")"
        var lines = [
            "\(session.name) #\(session.uniqueID): \(session.state), \(ownership)",
            "  local   '\(session.localID)' @ \(endpoint(session.localHost, session.localPort))\(session.natLocal ? ", behind NAT" : "")",
            "  remote  '\(session.remoteID)' @ \(endpoint(session.remoteHost, session.remotePort))"
                + (session.natRemote ? ", behind NAT" : "") + leased,
            "  IKE SA  \(spis), \(algorithms), established \(WallTime.span(milliseconds: session.establishedMilliseconds)) ago",
            "  window  next to send \(session.nextSendID), next to receive \(session.nextReceiveID)"
                + (session.pendingRequestID.map { ", request \($0) unanswered" } ?? "")
                + (session.rekeyedSPI.map { ", rekeyed \($0) not deleted yet" } ?? ""),
        ]
        if !session.capabilities.isEmpty { lines.append("  peer    \(session.capabilities.joined(separator: ", "))") }
        return printable((lines + session.children.flatMap(child)).joined(separator: "\n"))
    }

    private var ownership: String {
        session.isOwned
            ? "owned here (\(session.owner), epoch \(session.epoch))" : "held for its owner \(session.owner) (epoch \(session.epoch))"
    }

    private var leased: String {
        session.remoteVirtualAddresses.isEmpty ? "" : ", leased \(session.remoteVirtualAddresses.joined(separator: " "))"
    }

    private var algorithms: String {
        ["\(session.encryption)-\(session.encryptionKeyBits)", session.integrity, session.prf, session.keyExchange].compactMap { $0 }
            .joined(separator: "/")
    }

    private func child(_ child: ChildSummary) -> [String] {
        let algorithms =
            [
                "\(child.encryption)-\(child.encryptionKeyBits)", child.integrity, child.keyExchange,
                child.hasExtendedSequenceNumbers ? "ESN" : nil,
            ]
            .compactMap { $0 }.joined(separator: "/")
        let next = child.outboundNext.map { "next \($0), " } ?? ""
        return [
            "  \(child.name) #\(child.uniqueID): \(child.state), \(child.mode)\(child.isEncapsulated ? " in UDP" : ""), ESP \(algorithms)",
            "    \(child.localSelectors.joined(separator: " ")) = \(child.remoteSelectors.joined(separator: " "))",
            "    in  \(hex(child.inboundSPI))  \(traffic(child.inboundPackets, child.inboundBytes, child.inboundUseMilliseconds)), "
                + "highest number \(child.inboundTop)",
            "    out \(hex(child.outboundSPI))  \(traffic(child.outboundPackets, child.outboundBytes, child.outboundUseMilliseconds)), "
                + "\(next)leased to \(child.leaseLimit) (slice \(child.leaseSlice))",
        ]
    }

    private func traffic(_ packets: UInt64, _ bytes: UInt64, _ used: Int64?) -> String {
        "\(packets) packets, \(bytes) bytes" + (used.map { ", \(WallTime.span(milliseconds: $0)) ago" } ?? "")
    }

    private func endpoint(_ host: String, _ port: UInt16) -> String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    private func hex<Number: FixedWidthInteger>(_ value: Number) -> String {
        let text = String(value, radix: 16)
        return String(repeating: "0", count: Number.bitWidth / 4 - text.count) + text
    }
}
