import Cryptography
import Glibc
import Session
import Testing

@testable import Netlink

/// Against the running kernel, in a network namespace of their own.
@Suite(.enabled(if: Isolated.isPossible, "needs root and network namespaces"))
struct KernelTests {
    @Test func addresses_addedTwiceAndRemovedTwice_areThereOnceAndGone() throws {
        try Isolated.run { interface in
            try Links.setUp(true, interface)
            for text in ["192.0.2.10/24", "2001:db8::10/64"] {
                let prefix = IPPrefix(text)!
                try Addresses.add(prefix, to: interface)
                try Addresses.add(prefix, to: interface)
                #expect(try Addresses.list(of: interface).filter { $0 == prefix }.count == 1)
                try Addresses.remove(prefix, from: interface)
                try Addresses.remove(prefix, from: interface)
                #expect(try !Addresses.list(of: interface).contains(prefix))
            }
            try Addresses.remove(IPPrefix("192.0.2.10/24")!, from: "none0")
            #expect(throws: NetlinkError(operation: "find interface none0", code: ENODEV)) {
                try Addresses.add(IPPrefix("192.0.2.10/24")!, to: "none0")
            }
        }
    }

    @Test func links_setUpAndDown_areReported() throws {
        try Isolated.run { interface in
            let monitor = try LinkMonitor()
            #expect(try !Links.link(named: interface).isUp)
            try Links.setMTU(1400, interface)
            try Links.setUp(true, interface)
            let link = try Links.link(named: interface)
            #expect(
                link
                    == Link(
                        index: 1, name: interface, mtu: 1400, isUp: true, hasCarrier: true, isRunning: true,
                        hardwareAddress: [0, 0, 0, 0, 0, 0]))
            let events = try monitor.read()
            #expect(events.contains { if case .changed(let seen) = $0 { seen == link } else { false } })
            try Links.setUp(false, interface)
            #expect(try !Links.link(named: interface).isUp)
            #expect(try Links.all().map(\.name).contains(interface))
        }
    }

    @Test func routes_setTwiceAndRemovedTwice_areNoError() throws {
        try Isolated.run { interface in
            try Links.setUp(true, interface)
            let routes = [
                Route(IPPrefix("198.51.100.0/24")!, .device(interface)), Route(IPPrefix("203.0.113.0/24")!, .blackhole, metric: 4000),
                Route(IPPrefix("2001:db8:1::/48")!, .unreachable, metric: 4000), Route(IPPrefix("2001:db8:2::/48")!, .device(interface)),
            ]
            for route in routes {
                try Routes.replace(route)
                try Routes.replace(route)
                let again = #expect(throws: NetlinkError.self) { try Routes.add(route) }
                #expect(again?.isAlreadyThere == true)
                try Routes.remove(route)
                try Routes.add(route)
                try Routes.remove(route)
                try Routes.remove(route)
            }
        }
    }

    /// A policy whose SA is not there: the kernel asks for it, and says which packet wanted it.
    @Test func packet_underAPolicyWithoutAnSA_isAskedFor() throws {
        try Isolated.run { interface in
            try Links.setUp(true, interface)
            // Loopback is exempt from policies unless it is told otherwise; the file is the calling thread's namespace's.
            let exemption = open("/proc/sys/net/ipv4/conf/lo/disable_xfrm", O_WRONLY)
            try #require(exemption >= 0 && write(exemption, "0", 1) == 1)
            close(exemption)
            let (local, peer) = (IPAddress("192.0.2.10")!, IPAddress("192.0.2.200")!)
            try Addresses.add(IPPrefix(local, 24)!, to: interface)
            try Routes.replace(Route(IPPrefix("10.2.0.0/16")!, .device(interface)))
            let monitor = try XFRMMonitor()
            let selector = XFRMSelector(source: IPPrefix("192.0.2.0/24")!, destination: IPPrefix("10.2.0.0/16")!)
            let policy = XFRMPolicy(
                id: XFRMPolicyID(selector: selector, direction: .out, tag: 3), priority: 50_000,
                action: .protect(XFRMTemplate(source: local, destination: peer, requestID: 0x5B00_0007)))
            #expect(try XFRM().perform([.setPolicy(policy)]) == [.done])
            let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
            defer { close(descriptor) }
            var source = sockaddr_in()
            source.sin_family = sa_family_t(AF_INET)
            source.sin_addr.s_addr = inet_addr("192.0.2.10")
            withUnsafePointer(to: source) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    _ = bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            var target = sockaddr_in()
            target.sin_family = sa_family_t(AF_INET)
            target.sin_port = UInt16(4711).bigEndian
            target.sin_addr.s_addr = inet_addr("10.2.3.4")
            for _ in 0..<3 {
                withUnsafePointer(to: target) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        _ = sendto(descriptor, "x", 1, Int32(MSG_DONTWAIT), $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                    }
                }
            }
            let acquires = try monitor.read().compactMap { if case .acquired(let acquire) = $0 { acquire } else { nil } }
            let acquire = try #require(acquires.first)
            #expect(acquires.count == 1 && acquire.requestID == 0x5B00_0007)
            #expect(acquire.source.start == local && acquire.source.end == local && acquire.source.ipProtocol == 17)
            #expect(acquire.destination.start == IPAddress("10.2.3.4") && acquire.destination.startPort == 4711)
            #expect(acquire.destination.endPort == 4711)
        }
    }

    @Test func policies_withOneSelector_standSideBySideByTheirTags() throws {
        try Isolated.run { _ in
            let xfrm = try XFRM()
            let selector = XFRMSelector(source: IPPrefix("10.1.0.0/16")!, destination: IPPrefix("10.2.0.0/16")!)
            func policy(_ tag: UInt32, _ priority: UInt32, _ action: XFRMAction) -> XFRMPolicy {
                XFRMPolicy(id: XFRMPolicyID(selector: selector, direction: .out, tag: tag), priority: priority, action: action)
            }
            let template = XFRMTemplate(source: IPAddress("192.0.2.1")!, destination: IPAddress("192.0.2.2")!, requestID: 9, spi: 77)
            let tunnel = policy(2, 100, .protect(template))
            #expect(try xfrm.perform([.setPolicy(policy(1, 5, .block)), .addPolicy(tunnel)]) == [.done, .done])
            #expect(try Set(xfrm.policies()) == [policy(1, 5, .block), tunnel])
            // Set again with another priority, it is in place of the first; added again, it is refused.
            try xfrm.perform(.setPolicy(policy(1, 5000, .block)))
            #expect(try Set(xfrm.policies()) == [policy(1, 5000, .block), tunnel])
            #expect(try xfrm.perform([.addPolicy(tunnel)])[0].error?.code == EEXIST)
            try xfrm.perform(.deletePolicy(tunnel.id))
            #expect(try xfrm.policies() == [policy(1, 5000, .block)])
            try xfrm.hashPoliciesByPeerHost()
            try xfrm.hashPoliciesByPeerHost()
        }
    }

    @Test func batch_withFailuresInIt_saysWhichFailed() throws {
        try Isolated.run { _ in
            let xfrm = try XFRM()
            let ids = (0..<1000).map { index in
                XFRMPolicyID(
                    selector: XFRMSelector(
                        source: IPPrefix("10.0.0.0/8")!, destination: IPPrefix(host: IPAddress(v4: 0x0B00_0000 + UInt32(index)))),
                    direction: .out)
            }
            #expect(try xfrm.perform(ids.map { .addPolicy(XFRMPolicy(id: $0, priority: 1, action: .block)) }).allSatisfy { $0 == .done })
            #expect(try xfrm.policies().count == 1000)
            // Every third is deleted twice.
            let deletions = ids.enumerated().flatMap { index, id in
                Array(repeating: XFRM.Request.deletePolicy(id), count: index % 3 == 0 ? 2 : 1)
            }
            let outcomes = try xfrm.perform(deletions)
            var expected: [Bool] = []
            for index in ids.indices { expected += index % 3 == 0 ? [true, false] : [true] }
            #expect(outcomes.map { $0 == .done } == expected)
            #expect(outcomes.compactMap(\.error).allSatisfy { $0.isNotThere })
            #expect(try xfrm.policies().isEmpty)
        }
    }

    @Test func probe_whateverTheKernel_leavesNothing() throws {
        try Isolated.run { _ in
            let support = XFRM.supportsESP()
            #expect(!support.reason.isEmpty)
            #expect(support.isSupported == (support.ticksPerSecond != nil))
            let xfrm = try XFRM()
            #expect(try xfrm.states().isEmpty)
            let missing = XFRMStateID(destination: IPAddress("192.0.2.1")!, spi: 0x1234)
            let error = #expect(throws: NetlinkError.self) { try xfrm.perform(.readCounters(missing)) }
            #expect(error?.isNotThere == true)
            #expect(error?.operation == "read numbers of ESP SA 00001234 to 192.0.2.1")
        }
    }

    @Test func announce_onAnInterfaceThatIsUp_sendsEveryFrame() throws {
        try Isolated.run { interface in
            try Links.setUp(true, interface)
            let announcer = Announcer()
            #expect(try announcer.announce(IPAddress("192.0.2.10")!, on: interface) == 2)
            #expect(try announcer.announce(IPAddress("2001:db8::10")!, on: interface) == 1)
        }
    }
}
