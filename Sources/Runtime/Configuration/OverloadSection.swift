import Node
import Session
import TOMLKit

extension Sections {
    private static let marks: [(key: String, kind: LoadKind, range: ClosedRange<Int>)] = [
        ("cpu", .cpu, 1...100), ("sessions", .sessions, 1...SessionTable.sessionCountMax), ("half_open", .halfOpen, 1...1_048_576),
        ("packets_per_second", .packetsPerSecond, 1...1_000_000_000),
    ]

    /// `[overload]`: what is too much, and where to send those whom it is too much for.
    ///
    /// - Parameter gateways: those of `[[gateway]]`, which `to` may name.
    func overload(gateways: [GatewayConfiguration]) -> OverloadConfiguration? {
        guard let table = root.subtable("overload") else { return nil }
        let names = Sections.marks.map(\.key)
        table.allow(names + names.map { $0 + "_low" } + ["hold", "redirect_new", "move_share", "rate", "to"])
        var marks: [LoadKind: LoadMark] = [:]
        for (key, kind, range) in Sections.marks { marks[kind] = mark(table, key, in: range) }
        if !names.contains(where: table.has) {
            table.problem("", "names no load that is too much", "add one of \(names.joined(separator: ", "))")
        }
        if !table.has("to") { table.missing("to", "to = \"192.0.2.20\": the gateway that takes what is too much here") }
        var gateway: GatewayConfiguration?
        let target = table.value("to", "the name of a [[gateway]], an address or a domain name") { text in
            gateway = gateways.first { $0.name == text }
            return gateway?.redirectTo ?? GatewayIdentity(text: text)
        }
        let hold = table.duration("hold", in: .seconds(1)...Duration.seconds(3600))
        let share = percent(table, "move_share", in: 0...100)
        let rate = table.integer("rate", in: 1...1000)
        let redirectsNew = table.boolean("redirect_new")
        guard let target, !marks.isEmpty else { return nil }
        var overload = OverloadConfiguration(marks: marks, target: target)
        overload.gateway = gateway?.name
        overload.hold = hold ?? overload.hold
        overload.movedPercent = share ?? overload.movedPercent
        overload.rate = rate ?? overload.rate
        overload.redirectsNew = redirectsNew ?? overload.redirectsNew
        return overload
    }

    /// `cpu = "90%"` with `cpu_low = "70%"`, or `cpu = { high = "90%", low = "70%" }`. Without a low mark it is at four fifths.
    private func mark(_ table: TableReader, _ key: String, in range: ClosedRange<Int>) -> LoadMark? {
        let isPercent = key == "cpu"
        func value(_ table: TableReader, _ key: String, _ range: ClosedRange<Int>) -> Int? {
            isPercent ? percent(table, key, in: range) : table.integer(key, in: range)
        }
        let lowKey = "\(key)_low"
        guard table.has(key) else {
            if table.has(lowKey) { table.problem(lowKey, "has no meaning without \(key)", "add \(key)") }
            return nil
        }
        let isTable = table.table[key]?.table != nil
        let (place, highName, lowName) = isTable ? (table.subtable(key), "high", "low") : (table, key, lowKey)
        guard let place else { return nil }
        if isTable {
            place.allow(["high", "low"])
            if !place.has("high") { place.missing("high", "high = \(isPercent ? "\"90%\"" : "1000")") }
            if table.has(lowKey) { table.problem(lowKey, "stands beside \(key).low", "remove one of the two") }
        }
        guard let high = value(place, highName, range) else { return nil }
        guard place.has(lowName) else { return LoadMark(high: high, low: high * 4 / 5) }
        guard let low = value(place, lowName, 0...range.upperBound) else { return nil }
        guard low < high else {
            place.problem(lowName, "\(low) is not below the high mark, \(high)", "lower it: between the two nothing changes")
            return nil
        }
        return LoadMark(high: high, low: low)
    }

    /// `"90%"`, or a whole number.
    func percent(_ table: TableReader, _ key: String, in range: ClosedRange<Int>) -> Int? {
        guard table.table[key]?.string != nil else { return table.integer(key, in: range) }
        return table.value(key, "a percentage from \(range.lowerBound)% to \(range.upperBound)%") { text in
            guard text.hasSuffix("%"), let number = Int(text.dropLast()), range.contains(number) else { return nil }
            return number
        }
    }
}
