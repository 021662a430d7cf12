/// Which line of a TOML document each key stands on, because the parser keeps positions of syntax errors only.
///
/// Reads a document that the parser has already accepted, so it checks nothing; on any other text it ends without a trap
/// and knows fewer lines.
struct TOMLLines {
    private(set) var lines: [String: Int] = [:]
    /// Where the first `[` or `[[` stands that no key follows: the parser's own check of that is an assertion, which ends the program.
    private(set) var namelessHeader: (line: Int, offset: Int)?
    /// The first place where a value should begin and something else stands.
    private(set) var missingValue: (line: Int, offset: Int)?
    private var text: [UInt8]
    private var position = 0
    private var line = 1
    /// How many elements each array of tables has by now.
    private var arrayCounts: [String: Int] = [:]

    init(_ text: [UInt8]) {
        self.text = text
        scan()
        self.text = []
    }

    /// Octets before the first place that the parser must not be shown; `nil`: all of them may be.
    var parsableCount: Int? { [namelessHeader?.offset, missingValue?.offset].compactMap { $0 }.min() }

    /// The line of the key, or of the nearest table around it; 0 when there is none.
    func line(of path: String) -> Int {
        var path = path[...]
        while !path.isEmpty {
            if let line = lines[String(path)] { return line }
            guard let cut = path.lastIndex(where: { $0 == "." || $0 == "[" }) else { return 0 }
            path = path[..<cut]
        }
        return 0
    }

    /// How a key is joined to the path of its table.
    static func join(_ path: String, _ key: String) -> String {
        let bare = !key.isEmpty && key.utf8.allSatisfy { isBareKey($0) }
        let name = bare ? key : "\"\(key)\""
        return path.isEmpty ? name : "\(path).\(name)"
    }

    private static func isBareKey(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte) || byte == 0x2D || byte == 0x5F
    }

    private static func beginsKey(_ byte: UInt8) -> Bool { isBareKey(byte) || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") }

    // MARK: Scanning

    private var current: UInt8? { position < text.count ? text[position] : nil }

    private mutating func advance() {
        if current == 0x0A { line += 1 }
        position += 1
    }

    private mutating func skipBlank(includingNewlines: Bool) {
        while let byte = current {
            if byte == 0x23 {
                while let next = current, next != 0x0A { advance() }
            } else if byte == 0x20 || byte == 0x09 || byte == 0x0D || (byte == 0x0A && includingNewlines) {
                advance()
            } else {
                return
            }
        }
    }

    private mutating func scan() {
        var prefix = ""
        while true {
            skipBlank(includingNewlines: true)
            guard let byte = current else { return }
            if byte == UInt8(ascii: "[") {
                prefix = scanHeader()
            } else {
                let before = position
                scanAssignment(in: prefix)
                if position == before { advance() }
            }
        }
    }

    /// `[a.b]` or `[[a.b]]`: gives the path that the keys below it belong to.
    private mutating func scanHeader() -> String {
        let startLine = line
        let start = position
        advance()
        while current == 0x20 || current == 0x09 { advance() }
        let isArray = current == UInt8(ascii: "[")
        if isArray { advance() }
        while current == 0x20 || current == 0x09 { advance() }
        if namelessHeader == nil, let byte = current, !TOMLLines.beginsKey(byte), byte != UInt8(ascii: "]") {
            namelessHeader = (startLine, start)
        }
        let keys = scanKeys()
        while let byte = current, byte != 0x0A { advance() }
        var path = ""
        for (index, key) in keys.enumerated() {
            path = TOMLLines.join(path, key)
            let isLast = index == keys.count - 1
            if isLast, isArray {
                if lines[path] == nil { lines[path] = startLine }
                arrayCounts[path, default: 0] += 1
            }
            if let count = arrayCounts[path] { path += "[\(count - 1)]" }
            if lines[path] == nil { lines[path] = startLine }
        }
        return path
    }

    private mutating func scanKeys() -> [String] {
        var keys: [String] = []
        while true {
            skipBlank(includingNewlines: false)
            guard let byte = current else { return keys }
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") {
                let start = position + 1
                skipString()
                keys.append(String(decoding: text[min(start, text.count)..<max(min(start, text.count), position - 1)], as: UTF8.self))
            } else if TOMLLines.isBareKey(byte) {
                let start = position
                while let next = current, TOMLLines.isBareKey(next) { advance() }
                keys.append(String(decoding: text[start..<position], as: UTF8.self))
            } else {
                return keys
            }
            skipBlank(includingNewlines: false)
            guard current == UInt8(ascii: ".") else { return keys }
            advance()
        }
    }

    private mutating func scanAssignment(in prefix: String) {
        let startLine = line
        var path = prefix
        for key in scanKeys() {
            path = TOMLLines.join(path, key)
            if lines[path] == nil { lines[path] = startLine }
        }
        skipBlank(includingNewlines: false)
        guard current == UInt8(ascii: "=") else { return }
        advance()
        skipBlank(includingNewlines: false)
        scanValue(path)
    }

    private mutating func scanValue(_ path: String) {
        // The parser ends the program at some of these.
        if missingValue == nil, [nil, 0x0A, 0x2C, 0x5D, 0x7D].contains(current) { missingValue = (line, position) }
        switch current {
        case UInt8(ascii: "\""), UInt8(ascii: "'"):
            skipString()
        case UInt8(ascii: "{"):
            scanList(closing: UInt8(ascii: "}")) { scanner, _ in scanner.scanAssignment(in: path) }
        case UInt8(ascii: "["):
            scanList(closing: UInt8(ascii: "]")) { scanner, index in
                scanner.lines["\(path)[\(index)]"] = scanner.line
                scanner.scanValue("\(path)[\(index)]")
            }
        default:
            while let byte = current, ![0x0A, 0x2C, 0x5D, 0x7D, 0x23].contains(byte) { advance() }
        }
    }

    private mutating func scanList(closing: UInt8, element: (inout TOMLLines, Int) -> Void) {
        advance()
        var index = 0
        while true {
            skipBlank(includingNewlines: true)
            guard let byte = current else { return }
            if byte == closing {
                advance()
                return
            }
            let before = position
            element(&self, index)
            index += 1
            skipBlank(includingNewlines: true)
            if current == 0x2C || position == before { advance() }
        }
    }

    /// A string of any of the four kinds, from its first quote to past its last.
    private mutating func skipString() {
        guard let quote = current else { return }
        func isQuote(_ offset: Int) -> Bool { offset < text.count && text[offset] == quote }
        let isMultiline = isQuote(position + 1) && isQuote(position + 2)
        for _ in 0..<(isMultiline ? 3 : 1) { advance() }
        while let byte = current {
            if byte == 0x5C, quote == UInt8(ascii: "\"") {
                advance()
                advance()
            } else if byte == quote, !isMultiline {
                advance()
                return
            } else if byte == quote, isQuote(position + 1), isQuote(position + 2) {
                while current == quote { advance() }
                return
            } else {
                advance()
            }
        }
    }
}
