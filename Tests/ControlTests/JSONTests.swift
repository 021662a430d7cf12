import Testing

@testable import Control

@Suite struct JSONTests {
    @Test func string_withWhatMustBeEscaped_isEscaped() {
        #expect(JSON.string("a\"b\\c\n\r\t\u{1}\u{7F}ä/").line == #""a\"b\\c\n\r\t\u0001\u007fä/""#)
    }

    @Test func numbers_atTheirEnds_areExact() {
        #expect(JSON.unsigned(.max).line == "18446744073709551615")
        #expect(JSON.integer(.min).line == "-9223372036854775808")
        #expect(JSON.thousandths(3214).line == "3.214")
        #expect(JSON.thousandths(-5).line == "-0.005")
        #expect(JSON.thousandths(.min).line == "-9223372036854775.808")
    }

    @Test func text_isIndentedAndKeepsTheOrder() {
        let json = JSON.object([
            .init("b", .array([.integer(1), .null])), .init("a", .object([])), .init("c", .array([])), .init("d", .bool(true)),
        ])
        #expect(json.text == "{\n  \"b\": [\n    1,\n    null\n  ],\n  \"a\": {},\n  \"c\": [],\n  \"d\": true\n}")
        #expect(json.line == #"{"b": [1, null], "a": {}, "c": [], "d": true}"#)
    }

    @Test(arguments: [
        #"null"#, #"[true, false, {}]"#, #"{"a": [1, -5, 18446744073709551615], "b": "\"\\\n\u0001ä"}"#, #"-9223372036854775808"#,
        String(repeating: "[", count: 16) + String(repeating: "]", count: 16),
    ]) func document_parsedAndWritten_isTheSame(text: String) throws {
        let value = try JSON(parsing: Array(text.utf8), limit: 1000)
        #expect(value.line == text)
        #expect(try JSON(parsing: Array(value.text.utf8), limit: 1000) == value)
    }

    @Test func escapes_ofAnyKind_areRead() throws {
        let text = #" [ "\/\b\f\r\t\u00e4\uD83D\uDE00" , 0 ] "#
        #expect(try JSON(parsing: Array(text.utf8), limit: 100) == .array([.string("/\u{8}\u{C}\r\t\u{E4}\u{1F600}"), .integer(0)]))
    }

    @Test(arguments: [
        ("", JSONError.truncated), ("{\"a\":1", .truncated), ("[1,]", .unexpected(offset: 3)), ("{} x", .unexpected(offset: 3)),
        ("{a: 1}", .unexpected(offset: 1)), ("{\"a\":1,\"a\":2}", .repeated(member: "a")), ("01", .number(offset: 0)),
        ("-0", .number(offset: 0)), ("1.5", .number(offset: 0)), ("1e3", .number(offset: 0)), ("-", .number(offset: 0)),
        ("18446744073709551616", .number(offset: 0)), ("-9223372036854775809", .number(offset: 0)), ("\"\\x\"", .text(offset: 2)),
        ("\"\\uD800\"", .unexpected(offset: 7)), ("\"\\uD800\\u0041\"", .text(offset: 3)), ("\"\\uDC00\"", .text(offset: 3)),
        ("\"\u{1}\"", .text(offset: 1)), ("nul", .truncated), ("trux", .unexpected(offset: 3)), ("\"abc", .truncated),
        (String(repeating: "[", count: 17) + String(repeating: "]", count: 17), .tooDeep(offset: 16)),
        (String(repeating: "[", count: 18), .tooDeep(offset: 16)), (String(repeating: " ", count: 101), .tooLong(count: 101, limit: 100)),
    ]) func text_thatIsNotWhatIsReadHere_isAnError(text: String, error: JSONError) {
        #expect(throws: error) { try JSON(parsing: Array(text.utf8), limit: 100) }
    }

    @Test(arguments: [0, 31, 32, 40]) func member_thatStandsTwice_isAnError(others: Int) {
        let before = (0..<others).map { "\"m\($0)\": {\"x\": [1]}, " }.joined()
        for (first, second) in [(#""x""#, #""x""#), (#""x""#, #""\u0078""#), (#""\u0078""#, #""x""#), (#""\u0078""#, #""\u0078""#)] {
            let text = "{\(before)\(first): 1, \(second): 2}"
            #expect(throws: JSONError.repeated(member: "x")) { try JSON(parsing: Array(text.utf8), limit: 10_000) }
        }
        #expect(throws: Never.self) { try JSON(parsing: Array("{\(before)\"x\": 1}".utf8), limit: 10_000) }
    }

    @Test func values_areReadWhereTheyLie() throws {
        let text =
            #"{"a": [1, {"b": null}, "x\ny"], "\u0063": true, "\t\"é\\z": "\n", "d": -9223372036854775808, "e": 18446744073709551615, "f": "ä", "": {}}"#
        let document = try JSONValue(parsing: Array(text.utf8), limit: 1000)
        #expect(document.isObject && document["b"] == nil && document["aa"] == nil)
        let items = try #require(document["a"]?.items)
        #expect(items.count == 3 && items[0].number(UInt8.self) == 1 && items[1]["b"]?.isNull == true && items[2].text == "x\ny")
        #expect(items[2].withText(\.count) == 3 && items[0].text == nil && items[0].items == nil && items[0]["b"] == nil)
        #expect(document["c"]?.bool == true && document["c"]?.number(Int.self) == nil)
        #expect(
            document["d"]?.number(Int64.self) == .min && document["d"]?.number(Int32.self) == nil
                && document["d"]?.number(UInt64.self) == nil)
        #expect(document["e"]?.number(UInt64.self) == .max && document["e"]?.number(Int64.self) == nil)
        #expect(document["f"]?.text == "ä" && document[""]?.isObject == true)
        #expect(document["\t\"é\\z"]?.text == "\n" && document["\t\"é\\"] == nil)
        #expect(JSON(document).line == text.replacing(#"\u0063"#, with: "c"))
    }

    @Test func bytes_thatAreNoText_areAnError() {
        #expect(throws: JSONError.text(offset: 1)) { try JSON(parsing: [0x22, 0xFF, 0x22], limit: 100) }
    }

    @Test func status_hasStableKeysAlsoWhereNothingIsKnown() {
        func keys(_ status: StatusSummary) -> [String] {
            guard case .object(let members) = status.json else { return [] }
            return members.map(\.name)
        }
        #expect(keys(StatusSummary()) == keys(Samples.status))
        #expect(keys(Samples.status).contains("role_since_ms") && keys(Samples.status).contains("last_takeover"))
        #expect(StatusSummary().json.text.contains(#""last_takeover": null"#))
        #expect(Samples.status.json.line.contains(#""total_ms": 3.214, "steps": [{"name": "own", "took_ms": 1.200}"#))
        #expect(Samples.status.json.line.hasSuffix(#""counters": {"ike_dropped_cookie": 4, "ike_received": 812}}"#))
    }

    @Test func session_hasItsNameFirstAndTimesInMilliseconds() {
        let line = Samples.session.json.line
        #expect(line.hasPrefix(#"{"name": "road", "uniqueid": 5, "#))
        #expect(line.contains(#""established_ms": 65432"#))
        #expect(line.contains(#""nat_remote": false"#))
        #expect(line.contains(#""spi_in": "c1234567""#))
        #expect(line.contains(#""use_out_ms": 2600"#))
    }

    @Test(arguments: [
        (Int64(0), "1970-01-01 00:00:00.000 UTC"),
        (951_782_399_999, "2000-02-28 23:59:59.999 UTC"),
        (951_782_400_000, "2000-02-29 00:00:00.000 UTC"),
        (4_107_542_399_000, "2100-02-28 23:59:59.000 UTC"),
        (4_107_542_400_000, "2100-03-01 00:00:00.000 UTC"),
        (1_795_448_764_120, "2026-11-23 15:46:04.120 UTC"),
        (-1, "1969-12-31 23:59:59.999 UTC"),
    ])
    func wallTime_isTheDateInUTC(milliseconds: Int64, text: String) {
        #expect(WallTime(milliseconds: milliseconds).description == text)
    }

    @Test func wallTime_atTheEndsOfItsRange_doesNotTrap() {
        #expect(WallTime(milliseconds: .max).description.hasPrefix("292278994-08-17"))
        #expect(WallTime(milliseconds: .min).description.contains("UTC"))
    }
}
