import Glibc
import Testing

@testable import Netlink

/// Over the kernel's own table of interfaces, which anybody may read.
@Suite struct NetlinkSocketTests {
    /// RTM_GETLINK with a `struct ifinfomsg`: family and type, index, flags, change (linux/rtnetlink.h). Without an index: all, when dumped.
    private func getLink(_ index: Int32) -> NetlinkMessage {
        NetlinkMessage(18, operation: "read interface") { writer in
            writer.header((UInt32, Int32, UInt32, UInt32).self) { $0.1 = index }
        }
    }

    private func message() -> NetlinkMessage { getLink(0) }
    private func loopback() throws -> NetlinkMessage { getLink(try Links.index(of: "lo")) }

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
        for _ in 0..<3 {
            let outcomes = try socket.perform([getLink(.max), try loopback()])
            #expect(outcomes.map { $0.error?.code } == [ENODEV, nil])
            #expect(outcomes.map(\.replies.count) == [0, 1])
        }
    }
}
