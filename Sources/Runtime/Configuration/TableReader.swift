import TOMLKit

/// What all tables of one file share: where it is, which line a key stands on, and what was wrong so far.
final class ReaderContext {
    let file: String
    /// The folder that relative paths start from.
    let folder: String
    let lines: TOMLLines
    /// Seconds since 1970, for certificates that expire.
    let wallSeconds: Int64
    /// Some side of some connection says `psk`.
    var usesSharedKeys = false
    private(set) var problems: [ConfigurationError.Problem] = []
    /// What an operator should know, and what is no reason not to start.
    private(set) var warnings: [ConfigurationError.Problem] = []

    init(file: String, folder: String, lines: TOMLLines, wallSeconds: Int64) {
        self.wallSeconds = wallSeconds
        self.file = file
        self.folder = folder
        self.lines = lines
    }

    func add(_ path: String, _ what: String, _ remedy: String) {
        problems.append(.init(file: file, line: lines.line(of: path), key: path, what: what, remedy: remedy))
    }

    func warn(_ path: String, _ what: String, _ remedy: String) {
        warnings.append(.init(file: file, line: lines.line(of: path), key: path, what: what, remedy: remedy))
    }

    func resolve(_ path: String) -> String { path.hasPrefix("/") ? path : "\(folder)/\(path)" }
}

/// One table of the document: typed values out of it, and a problem for whatever does not fit.
///
/// Every getter gives `nil` both for an absent key and for a wrong value; the wrong value has been reported then.
struct TableReader {
    let context: ReaderContext
    let path: String
    let table: TOMLTable

    init(context: ReaderContext, path: String, table: TOMLTable) {
        self.context = context
        self.path = path
        self.table = table
    }

    func has(_ key: String) -> Bool { table.contains(key: key) }

    /// Whether `[key.name]` stands in the file, right or wrong.
    func hasNamed(_ key: String, _ name: String) -> Bool { table[key]?.table?.contains(key: name) ?? false }

    func problem(_ key: String, _ what: String, _ remedy: String) {
        context.add(key.isEmpty ? path : TOMLLines.join(path, key), what, remedy)
    }

    func warning(_ key: String, _ what: String, _ remedy: String) { context.warn(TOMLLines.join(path, key), what, remedy) }

    func missing(_ key: String, _ example: String) { problem(key, "is missing", "add \(example)") }

    /// Reports every key that is not one of `known`.
    ///
    /// - Parameter unsupported: options of swanctl.conf that are understood, with the only value they may have so far, if any.
    func allow(_ known: [String], unsupported: [String: String?] = [:]) {
        for key in table.keys where !known.contains(key) {
            if let onlyValue = unsupported[key] {
                checkUnsupported(key, onlyValue: onlyValue)
            } else if let near = nearest(to: key, among: known) {
                problem(key, "unknown key", "did you mean \(near)?")
            } else {
                problem(key, "unknown key", "known here: \(known.sorted().joined(separator: ", "))")
            }
        }
    }

    private func checkUnsupported(_ key: String, onlyValue: String?) {
        guard let onlyValue else {
            problem(key, "not supported yet", "remove it")
            return
        }
        let value = table[key]
        let text = value?.string ?? value?.int.map(String.init) ?? value?.bool.map { $0 ? "yes" : "no" } ?? ""
        let normal = ["false": "no", "true": "yes", "0s": "0"][text] ?? text
        if normal != onlyValue { problem(key, "the value \(show(key)) is not supported yet", "remove the key, or set it to \(onlyValue)") }
    }

    // MARK: Values

    func string(_ key: String) -> String? {
        guard let value = table[key] else { return nil }
        if let text = value.string { return text }
        wrongType(key, "a string")
        return nil
    }

    func nonEmptyString(_ key: String) -> String? {
        guard let text = string(key) else { return nil }
        if text.isEmpty { problem(key, "is empty", "give it a value") }
        return text.isEmpty ? nil : text
    }

    func boolean(_ key: String) -> Bool? {
        guard let value = table[key] else { return nil }
        if let flag = value.bool { return flag }
        if let text = value.string {
            if text == "yes" || text == "true" { return true }
            if text == "no" || text == "false" { return false }
        }
        wrongType(key, "true or false")
        return nil
    }

    func integer(_ key: String, in range: ClosedRange<Int>) -> Int? {
        guard let value = table[key] else { return nil }
        guard let number = value.int else {
            wrongType(key, "a whole number")
            return nil
        }
        guard range.contains(number) else {
            problem(key, "\(number) is out of range", "use \(range.lowerBound) to \(range.upperBound)")
            return nil
        }
        return number
    }

    func number(_ key: String, in range: ClosedRange<Double>) -> Double? {
        guard let value = table[key] else { return nil }
        guard let number = value.double ?? value.int.map(Double.init) else {
            wrongType(key, "a number")
            return nil
        }
        guard range.contains(number) else {
            problem(key, "\(number) is out of range", "use \(range.lowerBound) to \(range.upperBound)")
            return nil
        }
        return number
    }

    /// `"50ms"`, `"30s"`, `"5m"`, `"1h"`, `"1d"`, or whole seconds.
    func duration(_ key: String, in range: ClosedRange<Duration>) -> Duration? {
        guard let value = table[key] else { return nil }
        let parsed = value.int.flatMap { DurationText.seconds($0) } ?? value.string.flatMap { DurationText.parse($0) }
        guard let parsed else {
            problem(key, "\(show(key)) is not a duration", "write \"50ms\", \"30s\", \"5m\", \"1h\", or whole seconds")
            return nil
        }
        guard range.contains(parsed) else {
            let limits = "\(DurationText.show(range.lowerBound)) to \(DurationText.show(range.upperBound))"
            problem(key, "\(DurationText.show(parsed)) is out of range", "use \(limits)")
            return nil
        }
        return parsed
    }

    /// An array of strings, or one string with commas between them as in swanctl.conf.
    func strings(_ key: String) -> [String]? {
        guard let value = table[key] else { return nil }
        if let text = value.string {
            return text.split(separator: ",").map { trimmed($0) }.filter { !$0.isEmpty }
        }
        if let array = value.array {
            let texts = array.compactMap(\.string)
            if texts.count == array.count { return texts }
        }
        wrongType(key, "an array of strings")
        return nil
    }

    /// Each string read by `parse`, and a problem that names `kind` for those that it refuses.
    func list<Value>(_ key: String, _ kind: String, _ parse: (String) -> Value?) -> [Value]? {
        guard let texts = strings(key) else { return nil }
        return texts.compactMap { text in
            let value = parse(text)
            if value == nil { problem(key, "\"\(text)\" is not \(kind)", "correct it") }
            return value
        }
    }

    func value<Value>(_ key: String, _ kind: String, _ parse: (String) -> Value?) -> Value? {
        guard let text = string(key) else { return nil }
        let value = parse(text)
        if value == nil { problem(key, "\"\(text)\" is not \(kind)", "correct it") }
        return value
    }

    /// One of a few words; `true` and `false` stand for "yes" and "no" where these are among them.
    func choice(_ key: String, _ words: [String]) -> String? {
        let flag = table[key]?.bool.map { $0 ? "yes" : "no" }
        guard let text = flag.flatMap({ words.contains($0) ? $0 : nil }) ?? string(key) else { return nil }
        if words.contains(text) { return text }
        problem(key, "\"\(text)\" is not one of its values", "use \(words.joined(separator: ", "))")
        return nil
    }

    // MARK: Tables

    func subtable(_ key: String) -> TableReader? {
        guard let value = table[key] else { return nil }
        if let table = value.table { return TableReader(context: context, path: TOMLLines.join(path, key), table: table) }
        wrongType(key, "a table")
        return nil
    }

    /// The tables inside a table, in the order of the file: `[connections.NAME]`.
    func named(_ key: String) -> [(name: String, table: TableReader)] {
        guard let outer = subtable(key) else { return [] }
        let found = outer.table.keys.compactMap { name in outer.subtable(name).map { (name: name, table: $0) } }
        return found.sorted {
            (context.lines.line(of: $0.table.path), $0.name) < (context.lines.line(of: $1.table.path), $1.name)
        }
    }

    /// The elements of an array of tables: `[[address]]`.
    func tables(_ key: String) -> [TableReader] {
        guard let value = table[key] else { return [] }
        guard let array = value.array, case let tables = array.compactMap(\.table), tables.count == array.count else {
            wrongType(key, "an array of tables, [[\(TOMLLines.join(path, key))]]")
            return []
        }
        return tables.enumerated().map { index, table in
            TableReader(context: context, path: "\(TOMLLines.join(path, key))[\(index)]", table: table)
        }
    }

    // MARK: Texts

    private func wrongType(_ key: String, _ expected: String) {
        problem(key, "is \(articled(table[key]?.type.description ?? "value"))", "it must be \(expected)")
    }

    private func articled(_ word: String) -> String { ("aeiou".contains(word.first ?? "x") ? "an " : "a ") + word }

    private func show(_ key: String) -> String {
        guard let value = table[key] else { return "" }
        switch value.type {
        case .string, .int, .double, .bool: return value.debugDescription
        case .table, .array, .date, .time, .dateTime: return articled(value.type.description)
        }
    }
}

func trimmed(_ text: some StringProtocol) -> String {
    var rest = Substring(text)
    while let first = rest.first, first.isWhitespace { rest.removeFirst() }
    while let last = rest.last, last.isWhitespace { rest.removeLast() }
    return String(rest)
}

/// The known word that differs least from `word`, if it differs little enough to be a slip.
func nearest(to word: String, among known: [String]) -> String? {
    let scored = known.map { ($0, editDistance(word, $0)) }
    guard let best = scored.min(by: { ($0.1, $0.0) < ($1.1, $1.0) }) else { return nil }
    return best.1 <= max(2, word.count / 3) ? best.0 : nil
}

/// Levenshtein's distance. Words longer than any key of ours are never near one.
private func editDistance(_ left: String, _ right: String) -> Int {
    let left = Array(left.utf8)
    let right = Array(right.utf8)
    guard left.count <= 64, !right.isEmpty else { return .max }
    var row = Array(0...right.count)
    for (i, a) in left.enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        for (j, b) in right.enumerated() {
            let substituted = diagonal + (a == b ? 0 : 1)
            diagonal = row[j + 1]
            row[j + 1] = min(substituted, row[j] + 1, diagonal + 1)
        }
    }
    return row[right.count]
}
