import Glibc

/// A descriptor could not be made or set up. Only when something starts: what goes wrong with packets is counted instead.
public struct PacketIOError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was tried, with its object: `bind 192.0.2.1:500`.
    public let operation: String
    /// The system's `errno`.
    public let code: Int32

    public init(operation: String, code: Int32) {
        self.operation = operation
        self.code = code
    }

    /// With what the system says now.
    init(_ operation: String) { self.init(operation: operation, code: errno) }

    public var description: String { "\(operation): \(String(cString: strerror(code)))" }
}
