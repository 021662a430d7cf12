/// A message of strongSwan's control protocol: sections, values and lists, in order.
public struct VICIMessage: Hashable, Sendable {
    public enum Element: Hashable, Sendable {
        case section(name: String, VICIMessage)
        /// Octets that are text by convention; numbers are decimal text.
        case value(name: String, [UInt8])
        case list(name: String, [[UInt8]])
    }

    public var elements: [Element]

    public init(_ elements: [Element] = []) { self.elements = elements }

    /// The text of a key; `nil` when there is no such key here, or its octets are not UTF-8. The first of equals.
    public subscript(key: String) -> String? {
        for case .value(key, let bytes) in elements { return String(validating: bytes, as: UTF8.self) }
        return nil
    }

    /// A section by its name; the first of equals.
    public func section(_ name: String) -> VICIMessage? {
        for case .section(name, let message) in elements { return message }
        return nil
    }

    /// A list's items as text, octets that are not UTF-8 replaced; `nil` when there is no such list.
    public func list(_ name: String) -> [String]? {
        for case .list(name, let items) in elements { return items.map { String(decoding: $0, as: UTF8.self) } }
        return nil
    }

    /// All sections, in order.
    public var sections: [(name: String, message: VICIMessage)] {
        elements.compactMap { element in
            if case .section(let name, let message) = element { return (name, message) }
            return nil
        }
    }

    public mutating func add(_ key: String, _ value: String) { elements.append(.value(name: key, Array(value.utf8))) }

    public mutating func add(_ name: String, list items: [String]) {
        elements.append(.list(name: name, items.map { Array($0.utf8) }))
    }

    public mutating func add(_ name: String, section: VICIMessage) { elements.append(.section(name: name, section)) }
}
