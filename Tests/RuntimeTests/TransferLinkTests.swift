import Context
import Cryptography
import NIOCore
import NIOPosix
import Node
import Session
import Synchronization
import Testing

@testable import Runtime

/// One gateway's links on an event loop of their own.
private final class LinksEnd: Sendable {
    enum Event: Equatable, Sendable {
        case message(from: String, CXTPMessage)
        case closed(String)
    }

    let events = Mutex<[Event]>([])
    let lines = Mutex<[LogLine]>([])
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let loop: any EventLoop
    private let links: NIOLoopBoundBox<TransferLinks?>

    init(_ settings: TransferLinkSettings) async throws {
        loop = group.next()
        links = .makeEmptyBox(eventLoop: loop)
        try await loop.submit {
            let links = try TransferLinks(settings, eventLoop: self.loop, log: { line in self.lines.withLock { $0.append(line) } }) {
                event in
                self.events.withLock { events in
                    switch event {
                    case .message(let gateway, let message): events.append(.message(from: gateway, message))
                    case .closed(let gateway, _): events.append(.closed(gateway))
                    }
                }
            }
            self.links.value = links
            links.start()
        }.get()
        // Who calls before it listens is refused.
        let listens = try await eventually { try await self.loop.submit { self.links.value!.localPort != nil }.get() }
        #expect(listens || settings.listen == nil)
    }

    func send(_ message: CXTPMessage, to gateway: String) async throws {
        try await loop.submit { self.links.value!.send(message, to: gateway) }.get()
    }

    func counter(_ name: String) async throws -> UInt64 { try await loop.submit { self.links.value!.counters[name] ?? 0 }.get() }
    func has(_ event: Event) -> Bool { events.withLock { $0.contains(event) } }

    func stop() async throws {
        try await loop.submit { self.links.value!.stop() }.get()
        try await group.shutdownGracefully()
    }
}

@Suite struct TransferLinkTests {
    private static let names = ["west", "east", "stranger"]
    private let identities: [(certificatePEM: String, keyPEM: SecretBytes)]
    private let ports = [freePort(), freePort()]

    init() throws {
        identities = try TransferLinkTests.names.map { name in
            let made = try PairIdentity.generate(name: name, validDays: 1)
            return (made.certificatePEM, made.keyPEM)
        }
    }

    private func endpoint(_ index: Int) -> Endpoint { Endpoint(IPAddress("127.0.0.1")!, ports[index]) }

    /// - Parameter shown: whose certificate it shows in place of its own.
    private func settings(_ own: Int, listens: Bool = true, shown: Int? = nil) -> TransferLinkSettings {
        let peer = 1 - own
        let identity = identities[shown ?? own]
        let gateway = TransferLinkSettings.Gateway(
            name: TransferLinkTests.names[peer], link: endpoint(peer), certificatePEMs: [identities[peer].certificatePEM])
        return TransferLinkSettings(
            listen: listens ? endpoint(own) : nil, certificatePEM: identity.certificatePEM, keyPEM: identity.keyPEM, gateways: [gateway])
    }

    private func large(_ octet: UInt8) -> CXTPMessage {
        let block = ContextDataBlock(.ipsecContext, data: [UInt8](repeating: octet, count: ContextDataBlock.dataBytesMax))
        return .data(
            ContextData(
                wantsReply: true, elapsedMilliseconds: 0, mobileNode: IPAddress("192.0.2.7")!,
                blocks: Array(repeating: block, count: ContextDataBlock.perMessage)))
    }

    @Test func messages_betweenTwoGateways_arriveInOrderOnALinkMadeForThem() async throws {
        let (west, east) = (try await LinksEnd(settings(0)), try await LinksEnd(settings(1)))
        for octet in 1...8 { try await west.send(large(UInt8(octet)), to: "east") }
        #expect(try await eventually { east.events.withLock { $0.count } == 8 })
        let expected = (1...8).map { LinksEnd.Event.message(from: "west", large(UInt8($0))) }
        #expect(east.events.withLock { $0 } == expected)
        // The answer takes the same link.
        try await east.send(.cancel(IPAddress("192.0.2.7")!), to: "west")
        #expect(try await eventually { west.has(.message(from: "east", .cancel(IPAddress("192.0.2.7")!))) })
        #expect(try await east.counter("opened") == 1)
        // Its end is told, and the next message makes another.
        try await west.stop()
        #expect(try await eventually { east.has(.closed("west")) })
        let again = try await LinksEnd(settings(0))
        try await east.send(.cancel(IPAddress("192.0.2.8")!), to: "west")
        #expect(try await eventually { again.has(.message(from: "east", .cancel(IPAddress("192.0.2.8")!))) })
        try await again.stop()
        try await east.stop()
    }

    @Test func stranger_withAnotherCertificate_isRefusedInBothDirections() async throws {
        let east = try await LinksEnd(settings(1))
        let stranger = try await LinksEnd(settings(0, shown: 2))
        // As caller.
        try await stranger.send(.cancel(IPAddress("192.0.2.7")!), to: "east")
        #expect(try await eventually { try await east.counter("wrong_certificate") == 1 })
        #expect(try await eventually { stranger.has(.closed("east")) })
        // As the one who is called.
        try await east.send(.cancel(IPAddress("192.0.2.7")!), to: "west")
        #expect(try await eventually { try await east.counter("wrong_certificate") == 2 })
        #expect(try await eventually { east.has(.closed("west")) })
        #expect(stranger.events.withLock { !$0.contains { if case .message = $0 { true } else { false } } })
        #expect(east.events.withLock { !$0.contains { if case .message = $0 { true } else { false } } })
        try await stranger.stop()
        try await east.stop()
    }

    @Test func gateway_thatIsNotThere_isToldAtOnce() async throws {
        let west = try await LinksEnd(settings(0))
        try await west.send(.cancel(IPAddress("192.0.2.7")!), to: "east")
        #expect(try await eventually { west.has(.closed("east")) })
        try await west.send(.cancel(IPAddress("192.0.2.7")!), to: "nobody")
        #expect(try await west.counter("unknown_gateway") == 1)
        try await west.stop()
    }
}
