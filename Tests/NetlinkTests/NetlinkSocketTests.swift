import Glibc
import Testing

@testable import Netlink

/// Over the kernel's own table of interfaces, which anybody may read.
@Suite struct NetlinkSocketTests {
    private func message() -> NetlinkMessage {
        NetlinkMessage(RTM_GETLINK, operation: "list interfaces") { writer in writer.header(ifinfomsg.self) { _ in } }
    }

    private func loopback() throws -> NetlinkMessage {
        let index = try Links.index(of: "lo")
        return NetlinkMessage(RTM_GETLINK, operation: "read lo") { writer in writer.header(ifinfomsg.self) { $0.ifi_index = index } }
    }

    /// What is left of the list still waits when the next request is sent.
    @Test func request_whenAListBeforeItWasGivenUp_getsItsOwnAnswer() throws {
        let socket = try NetlinkSocket(.route)
        for _ in 0..<3 {
            #expect(try !socket.dump(message()) { _ in false })
            #expect(try socket.request(try loopback()).count == 1)
        }
        #expect(try socket.dump(message()).count >= 1)
    }

    @Test func request_whenOneBeforeItWasRefused_getsItsOwnAnswer() throws {
        let socket = try NetlinkSocket(.route)
        let unknown = NetlinkMessage(RTM_GETLINK, operation: "read none") { writer in
            writer.header(ifinfomsg.self) { $0.ifi_index = .max }
        }
        for _ in 0..<3 {
            let outcomes = try socket.perform([unknown, try loopback()])
            #expect(outcomes.map { $0.error?.code } == [ENODEV, nil])
            #expect(outcomes.map(\.replies.count) == [0, 1])
        }
    }
}
