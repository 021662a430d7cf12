import Session
import Testing

struct FlowMatcherTests {
    private static func entry(_ from: String, _ to: String, reply: (String, String)? = nil) -> FlowEntry {
        func tuple(_ from: String, _ to: String) -> FlowTuple {
            FlowTuple(source: address(from), destination: address(to), ipProtocol: 17, sourcePort: 1, destinationPort: 2)
        }
        let reply = reply ?? (to, from)
        return FlowEntry(original: tuple(from, to), reply: tuple(reply.0, reply.1))
    }

    /// A session of one CHILD SA between 10.1.0.0/16, where we are, and this.
    private static func session(_ id: UInt64, remote: TrafficSelector, local: String = "10.1.0.0/16") -> Session {
        var session = Sample.session(id)
        session.children[0].remoteSelectors = [remote]
        session.children[0].localSelectors = [TrafficSelector(prefix(local))]
        return session
    }

    @Test func connection_ofAPeer_isMatchedWhicheverSideBeganAndWhateverIsTranslated() {
        var matcher = FlowMatcher()
        matcher.follow(from: nil, to: Self.session(1, remote: TrafficSelector(host: address("10.9.0.2"))))
        #expect(matcher.matches(Self.entry("10.9.0.2", "10.1.0.5")))
        #expect(matcher.matches(Self.entry("10.1.0.5", "10.9.0.2")))
        // Its source becomes the gateway's; its destination becomes a server's; a stranger is let in to what is behind the peer.
        #expect(matcher.matches(Self.entry("10.9.0.2", "10.1.0.5", reply: ("10.1.0.5", "203.0.113.1"))))
        #expect(matcher.matches(Self.entry("10.9.0.2", "10.1.0.5", reply: ("10.7.0.7", "10.9.0.2"))))
        #expect(matcher.matches(Self.entry("198.51.100.9", "203.0.113.1", reply: ("10.9.0.2", "10.1.0.1"))))
        // Another peer's, or not to our side.
        #expect(!matcher.matches(Self.entry("10.9.0.3", "10.1.0.5")))
        #expect(!matcher.matches(Self.entry("10.9.0.2", "10.2.0.5")))
        #expect(!matcher.matches(Self.entry("10.1.0.5", "10.1.0.6")))
    }

    @Test func connection_ofTheGatewayItself_isNever() {
        var matcher = FlowMatcher()
        matcher.follow(from: nil, to: Self.session(1, remote: TrafficSelector(prefix("0.0.0.0/0")), local: "0.0.0.0/0"))
        matcher.ownAddresses = [address("192.0.2.10"), address("10.1.0.1")]
        #expect(matcher.matches(Self.entry("10.9.0.2", "198.51.100.1")))
        #expect(!matcher.matches(Self.entry("192.0.2.10", "198.51.100.7")))
        #expect(!matcher.matches(Self.entry("198.51.100.7", "192.0.2.10")))
        #expect(!matcher.matches(Self.entry("127.0.0.1", "127.0.0.53")))
        // Sent on from an address of its own, which is what a translation is for.
        #expect(matcher.matches(Self.entry("198.51.100.7", "192.0.2.10", reply: ("10.9.0.2", "198.51.100.7"))))
        #expect(matcher.matches(Self.entry("10.9.0.2", "198.51.100.1", reply: ("198.51.100.1", "192.0.2.10"))))
    }

    @Test func selectors_thatAreGone_matchNothing() {
        var matcher = FlowMatcher()
        let range = selector("10.9.0.3", "10.9.0.12")
        let (first, second) = (Self.session(1, remote: range), Self.session(2, remote: range))
        matcher.follow(from: nil, to: first)
        matcher.follow(from: nil, to: second)
        // A delta that leaves the children as they are, and a rekey: the successor beside it, then alone.
        matcher.follow(from: first, to: first)
        var rekeyed = first
        rekeyed.children.append(first.children[0])
        rekeyed.children[1].inboundSPI = 77
        matcher.follow(from: first, to: rekeyed)
        var alone = rekeyed
        alone.children.removeFirst()
        matcher.follow(from: rekeyed, to: alone)
        matcher.follow(from: alone, to: nil)
        #expect(matcher.matches(Self.entry("10.9.0.12", "10.1.0.5")))
        #expect(!matcher.matches(Self.entry("10.9.0.13", "10.1.0.5")))
        matcher.follow(from: second, to: nil)
        #expect(matcher.isEmpty)
    }

    @Test func selectors_ofIPv6_areMatched() {
        var matcher = FlowMatcher()
        matcher.follow(from: nil, to: Self.session(1, remote: TrafficSelector(prefix("fd00:20::/64")), local: "fd00:10::/64"))
        #expect(matcher.matches(Self.entry("fd00:20::9", "fd00:10::1")))
        #expect(!matcher.matches(Self.entry("fd00:21::9", "fd00:10::1")))
        #expect(!matcher.matches(Self.entry("10.9.0.2", "10.1.0.5")))
    }

    /// A look-up costs one for each length of prefix, not one for each session.
    @Test func lookup_amongAHundredThousandSessions_isFound() {
        var matcher = FlowMatcher()
        var session = Self.session(1, remote: TrafficSelector(host: address("10.9.0.2")))
        for number in 0..<100_000 {
            session.children[0].inboundSPI = UInt32(number) + 1
            session.children[0].remoteSelectors = [TrafficSelector(host: IPAddress(v4: 0x0A40_0000 + UInt32(number)))]
            matcher.follow(from: nil, to: session)
        }
        let hits = (0..<10_000).count {
            matcher.matches(Self.entry("\(IPAddress(v4: 0x0A40_0000 + UInt32($0) * 20))", "10.1.0.5"))
        }
        #expect(hits == 5000)
    }
}
