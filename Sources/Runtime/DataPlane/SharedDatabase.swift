import ESP
import Synchronization

/// The database of SAs between the packet thread, which holds the lock for a batch of packets, and whoever applies commands.
///
/// Unchecked: the database is reached only inside `withLock`. (A `Mutex` that holds it would not let packet buffers in.)
final class SharedDatabase: @unchecked Sendable {
    private let lock = Mutex(())
    private let sending = Mutex(())
    private let database: SecurityAssociationDatabase

    init(_ database: sending SecurityAssociationDatabase) { self.database = database }

    func withLock<Result>(_ body: (SecurityAssociationDatabase) -> Result) -> Result {
        lock.withLock { _ in body(database) }
    }

    /// What is sealed inside has left when it ends.
    func whileSending<Result>(_ body: () -> Result) -> Result { sending.withLock { _ in body() } }

    /// Returns when all that was sealed before has left: what leaves after a gate was shut would come behind the first packets of the
    /// other node, far below their numbers.
    func waitForSender() { sending.withLock { _ in } }
}
