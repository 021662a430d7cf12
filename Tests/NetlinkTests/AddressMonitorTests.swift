import Glibc
import Session
import Testing

@testable import Netlink

@Suite struct AddressMonitorTests {
    @Test(.enabled(if: Isolated.isPossible)) func monitor_whenAnAddressComesAndGoes_isReadable() throws {
        let seen = try Isolated.run { interface in
            let monitor = try AddressMonitor()
            func isReadable() -> Bool {
                var descriptor = pollfd(fd: monitor.descriptor, events: Int16(POLLIN), revents: 0)
                return poll(&descriptor, 1, 200) == 1
            }
            var seen: [(Bool, Bool)] = []
            let address = IPAddress("192.0.2.7")!
            func note() throws { seen.append((isReadable(), try Addresses.all().contains(address))) }
            try note()
            try Addresses.add(IPPrefix(address, 24)!, to: interface)
            try note()
            try monitor.drain()
            try note()
            try Addresses.remove(IPPrefix(address, 24)!, from: interface)
            try note()
            return seen.map { [$0.0, $0.1] }
        }
        #expect(seen == [[false, false], [true, true], [false, true], [true, false]])
    }
}
