/// Reads a summary's fields from a VICI message. The first value that cannot be read is kept as the error.
struct VICIFieldReader: FieldCoder {
    let isStock = false
    private let message: VICIMessage
    private let title: String
    private(set) var error: VICIError?

    init(message: VICIMessage, title: String) {
        self.message = message
        self.title = title
    }

    private mutating func fail(_ failure: VICIError) { if error == nil { error = failure } }

    private mutating func read<Value>(_ key: String, _ parse: (String) -> Value?) -> Value? {
        guard let text = message[key] else { return nil }
        let value = parse(text)
        if value == nil { fail(.badValue(key)) }
        return value
    }

    mutating func title(_ key: String, _ value: inout String) { value = title }
    mutating func text(_ key: String, _ value: inout String) { value = message[key] ?? value }
    mutating func text(_ key: String, _ value: inout String?) { value = message[key] }
    mutating func number<Number: FixedWidthInteger>(_ key: String, _ value: inout Number) {
        value = read(key) { Number($0) } ?? value
    }
    mutating func number<Number: FixedWidthInteger>(_ key: String, _ value: inout Number?) { value = read(key) { Number($0) } }

    mutating func flag(_ key: String, _ value: inout Bool, stockTrue: String) {
        value = read(key) { $0 == "yes" || $0 == stockTrue ? true : ($0 == "no" ? false : nil) } ?? false
    }
    mutating func hex(_ key: String, _ value: inout UInt64, digits: Int) {
        value = read(key) { UInt64($0, radix: 16) } ?? value
    }

    mutating func span(_ key: String, milliseconds value: inout Int64) {
        var found: Int64?
        span(key, milliseconds: &found)
        value = found ?? value
    }
    mutating func span(_ key: String, milliseconds value: inout Int64?) {
        value =
            read(key + "-ms") { Int64($0) }
            ?? read(key) { text in
                guard let seconds = Int64(text) else { return nil }
                let (milliseconds, overflow) = seconds.multipliedReportingOverflow(by: 1000)
                return overflow ? nil : milliseconds
            }
    }
    mutating func fine(_ key: String, microseconds value: inout Int64) {
        value = read(key + "-ms", VICIFieldReader.thousandths) ?? value
    }

    /// `3.214` is 3,214; exactly three decimals, as they are written.
    private static func thousandths(_ text: String) -> Int64? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[1].count == 3, parts[1].allSatisfy({ $0.isASCII && $0.isNumber }) else { return nil }
        return Int64(parts[0] + parts[1])
    }

    mutating func list(_ key: String, _ value: inout [String], omitEmpty: Bool) { value = message.list(key) ?? value }

    mutating func section<Inner: Summary>(_ key: String, _ value: inout Inner) {
        var found: Inner?
        section(key, &found)
        value = found ?? value
    }
    mutating func section<Inner: Summary>(_ key: String, _ value: inout Inner?) {
        value = message.section(key).flatMap { inner($0, title: key) }
    }
    mutating func sections<Inner: Summary>(_ key: String, _ value: inout [Inner], name: (Inner, Int) -> String) {
        guard let outer = message.section(key) else { return }
        value = outer.sections.compactMap { inner($0.message, title: $0.name) }
    }
    mutating func counters(_ key: String, _ value: inout [String: UInt64]) {
        guard let inner = message.section(key) else { return }
        for case .value(let name, _) in inner.elements {
            guard let count = inner[name].flatMap({ UInt64($0) }) else { return fail(.badValue(name)) }
            value[name] = count
        }
    }

    private mutating func inner<Inner: Summary>(_ message: VICIMessage, title: String) -> Inner? {
        do {
            return try Inner(message: message, title: title)
        } catch {
            fail(error)
            return nil
        }
    }
}
