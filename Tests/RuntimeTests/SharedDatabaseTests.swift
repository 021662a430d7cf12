import ESP
import Glibc
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import Runtime

private final class Progress: Sendable {
    let hasSealed = Atomic(false)
    let hasSent = Atomic(false)
}

@Suite struct SharedDatabaseTests {
    /// A node that shut its gate tells the other one to open its own: by then its last packet has left.
    @Test func sender_thatHasSealed_isWaitedFor() async throws {
        let shared = SharedDatabase(SecurityAssociationDatabase())
        let progress = Progress()
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let sender = group.next().submit {
            shared.whileSending {
                shared.withLock { _ in progress.hasSealed.store(true, ordering: .releasing) }
                usleep(50_000)
                progress.hasSent.store(true, ordering: .releasing)
            }
        }
        while !progress.hasSealed.load(ordering: .acquiring) { usleep(100) }
        // The database itself is free meanwhile.
        #expect(shared.withLock { $0.count } == 0)
        shared.waitForSender()
        let hasSent = progress.hasSent.load(ordering: .acquiring)
        #expect(hasSent)
        try await sender.get()
        try await group.shutdownGracefully()
    }
}
