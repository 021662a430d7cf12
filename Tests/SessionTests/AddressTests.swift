import Session
import Testing

@Suite struct AddressTests {
    @Test(arguments: [
        // RFC 5952 §4.1: no leading zeros; §4.2.1: as short as can be; §4.2.2: one zero word is not shortened; §4.2.3: the longest
        // run, of equals the first; §4.3: lower case; §5: IPv4-mapped.
        ("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"), ("2001:db8::0:1", "2001:db8::1"),
        ("2001:db8:0:0:0:0:2:1", "2001:db8::2:1"), ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("2001:DB8:AAAA::", "2001:db8:aaaa::"),
        ("0:0:0:0:0:0:0:0", "::"), ("::1", "::1"), ("1::", "1::"), ("0:0:1::", "0:0:1::"), ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"), ("::ffff:c000:201", "::ffff:192.0.2.1"), ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
        ("192.0.2.1", "192.0.2.1"), ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"),
    ]) func text_whenRead_isWrittenInTheCanonicalForm(text: String, canonical: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.description == canonical)
        #expect(IPAddress(canonical) == address)
        #expect(IPAddress(bytes: address.bytes) == address)
    }

    @Test(arguments: [
        "", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.-4", "1.2.3.+4", "01.2.3.4", "1.2.3.4 ", "1..2.3", "1.2.3.٤", ":", ":::", "1:::2",
        "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "12345::", "g::", "::%eth0", "[::1]", "1.2.3.4::",
        "::1.2.3.4:5", "1:2:3:4:5:6:7:1.2.3.4", "::+1", "：：1",
    ]) func text_whenNoAddress_isRefused(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test func random_whenWrittenAndRead_isTheSame() {
        var generator = SeededGenerator(seed: 5)
        for _ in 0..<2000 {
            // Words are often zero, so that every place of "::" comes up.
            let bytes = (0..<8).flatMap { _ in Bool.random(using: &generator) ? [0, 0] : [UInt8.random(in: 0...2, using: &generator), 7] }
            let v6 = IPAddress(bytes: bytes)!
            let v4 = IPAddress(v4: UInt32.random(in: 0...(.max), using: &generator))
            #expect(IPAddress(v6.description) == v6 && v6.bytes == bytes)
            #expect(IPAddress(v4.description) == v4 && IPAddress(bytes: v4.bytes) == v4)
        }
    }

    @Test func bytes_whenNeither4Nor16_areRefused() {
        for count in 0...17 where count != 4 && count != 16 { #expect(IPAddress(bytes: Array(repeating: 1, count: count)) == nil) }
    }

    @Test func advanced_whenPastTheEnd_isNil() {
        #expect(address("255.255.255.254").advanced(by: 1) == address("255.255.255.255"))
        #expect(address("255.255.255.255").advanced(by: 1) == nil)
        #expect(address("::ffff:ffff:ffff:ffff").advanced(by: 1) == address("0:0:0:1::"))
        #expect(address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").advanced(by: 1) == nil)
    }

    @Test func endpoint_whenRead_needsBracketsForIPv6Alone() {
        for text in ["192.0.2.1:500", "[2001:db8::1]:4500"] { #expect(Endpoint(text)?.description == text) }
        for text in ["192.0.2.1", "[192.0.2.1]:500", "2001:db8::1:500", "192.0.2.1:65536", "192.0.2.1:+500", "192.0.2.1:", "[", ":500"] {
            #expect(Endpoint(text) == nil, "\(text)")
        }
    }

    @Test func prefix_whenRead_knowsItsEnds() {
        for (text, first, last) in [
            ("10.1.2.3/16", "10.1.0.0", "10.1.255.255"), ("10.1.2.3/32", "10.1.2.3", "10.1.2.3"),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
            ("2001:db8::5/64", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"),
            ("2001:db8::5/65", "2001:db8::", "2001:db8::7fff:ffff:ffff:ffff"),
            ("::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2001:db8:8000::/33", "2001:db8:8000::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            #expect(prefix(text).first == address(first) && prefix(text).last == address(last), "\(text)")
            #expect(prefix(text).description == text)
            #expect(prefix(text).contains(address(first)) && prefix(text).contains(address(last)))
        }
        #expect(IPPrefix("10.1.2.3") == IPPrefix(host: address("10.1.2.3")))
        #expect(prefix("10.1.2.3/16").network == prefix("10.1.0.0/16"))
        #expect(!prefix("10.1.0.0/16").contains(address("10.2.0.0")) && !prefix("0.0.0.0/0").contains(address("::1")))
    }

    @Test(arguments: [
        "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/", "10.0.0.0/8/8", "::/129", "/8", "", "10.0.0.0/99999999999999999999",
    ])
    func prefix_whenLengthDoesNotFit_isRefused(text: String) {
        #expect(IPPrefix(text) == nil)
    }

    @Test func duration_whenOutOfRange_saturates() {
        #expect(Duration.seconds(Int64.max).inNanoseconds == .max)
        #expect(Duration.seconds(Int64.min).inNanoseconds == .min)
        #expect(Duration(secondsComponent: 9_223_372_036, attosecondsComponent: 999_999_999_999_999_999).inNanoseconds == .max)
        #expect((Instant(nanoseconds: 5_000_000) + .milliseconds(-2)) == Instant(nanoseconds: 3_000_000))
        #expect(Instant(nanoseconds: 1) - Instant(nanoseconds: 3) == .nanoseconds(-2))
    }
}
