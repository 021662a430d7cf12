/// A dictionary that grows a little at a time.
///
/// A dictionary of the standard library that is full moves everything it has to twice the room, at once: with a hundred thousand
/// sessions that takes longer than a node may keep its peer without a heartbeat, and all tables of sessions are full at the same moment.
/// This one is made of parts, by the keys' hashes, each of which moves on its own. As long as there is little in it, it is one part.
///
/// No order is promised, as in a dictionary.
public struct GradualDictionary<Key: Hashable, Value> {
    /// A power of two. With a million elements a part has four thousand, which move in well under a millisecond each time.
    @inlinable static var partCount: Int { 256 }

    /// With more in it than this it is taken apart, which for so few takes less than a millisecond.
    @inlinable static var wholeMax: Int { 1024 }

    /// None, one, or `partCount`.
    @usableFromInline var parts: [[Key: Value]] = []
    @usableFromInline var total = 0

    @inlinable public init() {}

    @inlinable public var count: Int { total }
    @inlinable public var isEmpty: Bool { total == 0 }
    @inlinable public var keys: some Collection<Key> { parts.lazy.flatMap(\.keys) }
    @inlinable public var values: some Collection<Value> { parts.lazy.flatMap(\.values) }

    @inlinable public subscript(key: Key) -> Value? {
        get { total == 0 ? nil : parts[part(of: key)][key] }
        _modify {
            let part = prepared(for: key)
            let before = parts[part].count
            defer { total += parts[part].count - before }
            yield &parts[part][key]
        }
    }

    @inlinable public subscript(key: Key, default value: @autoclosure () -> Value) -> Value {
        get { self[key] ?? value() }
        _modify {
            let part = prepared(for: key)
            let before = parts[part].count
            defer { total += parts[part].count - before }
            yield &parts[part][key, default: value()]
        }
    }

    /// Makes room for so many: what comes in bulk would else be moved with each step by which a part grows. Where something is in it already
    /// that stays as it is, for everything would be moved at once.
    public mutating func makeRoomIfEmpty(for count: Int) {
        guard isEmpty, count > Self.wholeMax else { return }
        if parts.count < Self.partCount { parts = Array(repeating: [:], count: Self.partCount) }
        // Keys are spread by chance: a sixth more than an equal share.
        let share = count / Self.partCount
        for index in parts.indices { parts[index].reserveCapacity(share + share / 6) }
    }

    /// - Returns: what was there before.
    @discardableResult
    @inlinable public mutating func updateValue(_ value: Value, forKey key: Key) -> Value? {
        let before = parts.isEmpty ? nil : parts[part(of: key)][key]
        self[key] = value
        return before
    }

    /// - Returns: what was there before.
    @discardableResult
    @inlinable public mutating func removeValue(forKey key: Key) -> Value? {
        guard total > 0, let value = parts[part(of: key)].removeValue(forKey: key) else { return nil }
        total -= 1
        return value
    }

    @inlinable func part(of key: Key) -> Int { parts.count == 1 ? 0 : key.hashValue & (Self.partCount - 1) }

    @inlinable mutating func prepared(for key: Key) -> Int {
        if parts.isEmpty { parts = [[:]] }
        if parts.count == 1, total >= Self.wholeMax { takeApart() }
        return part(of: key)
    }

    @inlinable mutating func takeApart() {
        let whole = parts[0]
        parts = Array(repeating: [:], count: Self.partCount)
        for (key, value) in whole { parts[part(of: key)][key] = value }
    }
}

extension GradualDictionary: Sendable where Key: Sendable, Value: Sendable {}

extension GradualDictionary: Sequence {
    @inlinable public func makeIterator() -> FlattenSequence<[[Key: Value]]>.Iterator { parts.joined().makeIterator() }
}

extension GradualDictionary: ExpressibleByDictionaryLiteral {
    @inlinable public init(dictionaryLiteral elements: (Key, Value)...) {
        for (key, value) in elements { self[key] = value }
    }
}

extension GradualDictionary: Equatable where Value: Equatable {
    @inlinable public static func == (left: Self, right: Self) -> Bool {
        // One may have had more in it, and be in parts since.
        left.total == right.total && left.allSatisfy { right[$0.key] == $0.value }
    }
}

extension GradualDictionary {
    /// How many elements move at once when a part grows, at most.
    package var largestPart: Int { parts.map(\.count).max() ?? 0 }
}
