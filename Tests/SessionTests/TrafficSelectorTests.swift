import Session
import Testing

@Suite struct TrafficSelectorTests {
    @Test(arguments: [
        ("10.0.0.0", "10.0.255.255", "10.0.0.0/16"), ("10.0.0.1", "10.0.0.1", "10.0.0.1/32"), ("0.0.0.0", "255.255.255.255", "0.0.0.0/0"),
        ("10.0.0.1", "10.0.0.6", "10.0.0.1/32 10.0.0.2/31 10.0.0.4/31 10.0.0.6/32"),
        ("10.0.0.255", "10.0.1.0", "10.0.0.255/32 10.0.1.0/32"),
        ("255.255.255.254", "255.255.255.255", "255.255.255.254/31"), ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"),
        ("2001:db8::", "2001:db8::1:0:0:0", "2001:db8::/80 2001:db8:0:0:1::/128"), ("10.0.0.2", "10.0.0.1", ""),
    ]) func prefixes_whenRangeGiven_coverIt(first: String, last: String, expected: String) {
        #expect(selector(first, last).prefixes.map(\.description).joined(separator: " ") == expected)
    }

    @Test func prefixes_whenRangeIsTheWorst_areTwoForEachBitLessTwo() {
        // From 1 to the last but one: every length from the middle to a host, twice.
        #expect(selector("0.0.0.1", "255.255.255.254").prefixes.count == 2 * 32 - 2)
        #expect(selector("::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe").prefixes.count == 2 * 128 - 2)
    }

    @Test func prefixes_whenRangeIsRandom_areAscendingWithoutGapOrOverlap() {
        var generator = SeededGenerator(seed: 11)
        for _ in 0..<500 {
            let bits = UInt32.random(in: 0..<32, using: &generator)
            let low = UInt32.random(in: 0...(.max), using: &generator)
            let (high, overflow) = low.addingReportingOverflow(UInt32.random(in: 0...(.max), using: &generator) >> bits)
            let range = TrafficSelector(start: IPAddress(v4: low), end: IPAddress(v4: overflow ? .max : high))
            let prefixes = range.prefixes
            #expect(prefixes.first?.first == range.start && prefixes.last?.last == range.end)
            #expect(zip(prefixes, prefixes.dropFirst()).allSatisfy { $0.last.advanced(by: 1) == $1.first })
            #expect(prefixes.allSatisfy { $0.address == $0.first })
        }
    }

    @Test func intersection_whenRangesMeet_isWhatBothAllow() {
        let web = TrafficSelector(ipProtocol: 6, startPort: 80, endPort: 443, start: address("10.0.0.0"), end: address("10.0.0.99"))
        let high = TrafficSelector(ipProtocol: 0, startPort: 100, endPort: 65535, start: address("10.0.0.50"), end: address("10.0.1.0"))
        let both = TrafficSelector(ipProtocol: 6, startPort: 100, endPort: 443, start: address("10.0.0.50"), end: address("10.0.0.99"))
        #expect(web.intersection(high) == both && high.intersection(web) == both)
        #expect(web.contains(both) && high.contains(both) && !web.contains(high) && !both.contains(web))
        #expect(web.contains(web))
    }

    @Test func intersection_whenNothingIsShared_isNil() {
        let tcp = TrafficSelector(ipProtocol: 6, startPort: 80, endPort: 80, start: address("10.0.0.0"), end: address("10.0.0.9"))
        var other = tcp
        other.ipProtocol = 17
        #expect(tcp.intersection(other) == nil)
        other = tcp
        (other.startPort, other.endPort) = (81, 90)
        #expect(tcp.intersection(other) == nil)
        #expect(tcp.intersection(selector("10.0.0.10", "10.0.0.20")) == nil)
        #expect(tcp.intersection(selector("::", "ffff::")) == nil)
        // OPAQUE (65535 to 0) shares no port with anything that we can name.
        (other.startPort, other.endPort) = (65535, 0)
        #expect(tcp.intersection(other) == nil)
    }

    @Test func intersection_whenRandom_isCommutativeAndWithinBoth() {
        var generator = SeededGenerator(seed: 13)
        func random() -> TrafficSelector {
            let addresses = [0, 0].map { _ in UInt32.random(in: 0..<64, using: &generator) }.sorted()
            let ports = [0, 0].map { _ in UInt16.random(in: 0..<16, using: &generator) }.sorted()
            return TrafficSelector(
                ipProtocol: [0, 6, 17].randomElement(using: &generator)!, startPort: ports[0], endPort: ports[1],
                start: IPAddress(v4: addresses[0]), end: IPAddress(v4: addresses[1]))
        }
        var met = 0
        for _ in 0..<2000 {
            let (a, b) = (random(), random())
            let both = a.intersection(b)
            #expect(both == b.intersection(a))
            if let both {
                met += 1
                #expect(a.contains(both) && b.contains(both))
            }
        }
        #expect((200..<1800).contains(met))
    }

    @Test(arguments: [
        (0, 0, 65535, "10.0.0.0/30"), (6, 0, 65535, "10.0.0.0/30[tcp]"), (17, 53, 53, "10.0.0.0/30[udp/53]"),
        (132, 1, 9, "10.0.0.0/30[132/1-9]"),
    ]) func description_whenShown_isAsSwanctlPrints(ipProtocol: UInt8, startPort: UInt16, endPort: UInt16, expected: String) {
        let shown = TrafficSelector(
            ipProtocol: ipProtocol, startPort: startPort, endPort: endPort, start: address("10.0.0.0"), end: address("10.0.0.3"))
        #expect(shown.description == expected)
    }

    @Test func description_whenNoPrefix_isARange() {
        #expect(selector("10.0.0.1", "10.0.0.9").description == "10.0.0.1..10.0.0.9")
    }
}
