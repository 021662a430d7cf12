/// A large part of a value, which its copies share until one of them changes it.
///
/// A session is copied many times on its way through a node. What a copy costs is its size and the number of its references: of a part that is
/// held in this way one.
@propertyWrapper
public struct Shared<Value> {
    /// Of one element: an array's storage is shared by copies, and is copied by whoever writes to it while there are others.
    @usableFromInline var storage: [Value]

    @inlinable public init(wrappedValue: Value) { storage = [wrappedValue] }

    @inlinable public var wrappedValue: Value {
        _read { yield storage[0] }
        _modify { yield &storage[0] }
    }
}

extension Shared: Equatable where Value: Equatable {}
extension Shared: Hashable where Value: Hashable {}
extension Shared: Sendable where Value: Sendable {}
