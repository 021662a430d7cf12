import Control
import Cryptography
import Session
import Testing

@testable import Node
@testable import Simulator

/// What is found by indexes is what a look at every session's summary finds.
@Suite struct FindingTests {
    /// Identities of several types with the same text, and names that cannot be turned back into octets.
    static let identities: [Identity] = [
        Identity(text: "eu@example.net"), Identity(kind: .fqdn, data: Array("eu@example.net".utf8)), Identity(text: "road"),
        Identity(text: "198.51.100.7"), Identity(kind: .fqdn, data: Array("198.51.100.7".utf8)), Identity(text: "abcd"),
        Identity(kind: .keyID, data: [0xAB, 0xCD]), Identity(text: "C=CH, O=Tandem, CN=gw"), Identity(kind: .derASN1DN, data: [1, 2, 3]),
        Identity(kind: .fqdn, data: [1, 2, 0xFF]), Identity(kind: .rfc822Address, data: []), Identity(text: "2001:db8::1"),
        Identity(text: "7"),
    ]
    static let names = [
        "road", "roads", "eu@example.net", "EU@example.net", "198.51.100.7", "198.51.100.8", "198.51.100.007", "abcd", "ABCD",
        "C=CH, O=Tandem, CN=gw", "C=ch, O=Tandem, CN=gw", "(3 octets)", "", "2001:db8::1", "2001:DB8::1", "10.20.0.3", "10.20.0.77", "7",
        "+7",
        "07", "3", "8000000000000003", "8000000000000abc", "8000000000000ABC", "0000000000000007", "+000000000000007", "abc",
    ]

    static let now = Now(instant: Instant(nanoseconds: 1_000_000_000), wallMilliseconds: 1_800_000_000_000)

    /// Sessions of two connections, whose numbers, addresses and identities meet.
    static func node() throws -> Node {
        var node = try #require(TakeoverTests.connected().0.nodes[0])
        let sample = try #require(node.table.sessions.values.first)
        for (index, identity) in (identities + identities).enumerated() {
            var session = sample
            session.id = SessionID(rawValue: index == 5 ? 0x8000_0000_0000_0ABC : index == 6 ? 7 : 1 << 63 | UInt64(index))
            session.uniqueID = UInt32(index % 20)
            session.authorization.connection = index % 3 == 0 ? "road" : "198.51.100.7"
            session.authorization.remoteIdentity = identity
            session.remote = Endpoint(IPAddress("198.51.100.\(6 + index % 4)")!, 4500)
            session.virtualAddresses = [VirtualAddress(pool: "road", address: IPAddress("10.20.0.\(index % 9)")!)]
            session.ikeSA.spis = IKESPIs(initiator: UInt64(index) + 1, responder: UInt64(index) + 1)
            for child in session.children.indices {
                session.children[child].inboundSPI = UInt32(1000 + index)
                session.children[child].uniqueID = UInt32(index)
                session.children[child].name = index % 2 == 0 ? "net" : "dmz"
            }
            try node.table.apply(SessionDelta(session: session.id, changes: [.created(session)]))
        }
        return node
    }

    static var filters: [SessionFilter] {
        let others: [SessionFilter] = [
            SessionFilter(), SessionFilter(connection: "road"), SessionFilter(connection: "nowhere"), SessionFilter(uniqueID: 3),
            SessionFilter(connection: "road", uniqueID: 3), SessionFilter(child: "net"), SessionFilter(childUniqueID: 4),
            SessionFilter(connection: "road", child: "dmz", childUniqueID: 3), SessionFilter(connection: "road", name: "7"),
        ]
        return names.map { SessionFilter(name: $0) } + others
    }

    @Test(arguments: filters)
    func find_withAnyFilter_findsWhatTheSummariesMatch(filter: SessionFilter) throws {
        var filter = filter
        filter.includesHeld = true
        let node = try FindingTests.node()
        let wanted = node.table.sessions.values.filter { filter.matches(node.summary(of: $0, now: FindingTests.now)) }.map(\.id.rawValue)
        #expect(node.find(filter) == wanted.sorted())
    }

    @Test func find_ofEverySessionsOwnNames_findsIt() throws {
        let node = try FindingTests.node()
        for session in node.table.sessions.values {
            let summary = node.summary(of: session, now: FindingTests.now)
            for name in [summary.remoteID, summary.remoteHost, summary.remoteVirtualAddresses[0], "\(summary.uniqueID)"] {
                #expect(node.find(SessionFilter(includesHeld: true, name: name)).contains(session.id.rawValue))
            }
        }
    }
}
