public import Cryptography
import NIOCore
import NIOPosix
import Node
import Pair
import Session
import Synchronization

/// `[state]`: where sessions are kept on disk, and under which key.
public struct StateSettings: Sendable {
    public var directory: String
    /// `nil`: it comes from the service manager, and this process was not started by it.
    public var key: SecretBytes?

    public init(directory: String, key: SecretBytes?) {
        self.directory = directory
        self.key = key
    }
}

/// The state directory on a thread of its own: neither packets nor heartbeats wait for a disk.
final class StateStore: Sendable {
    /// The node gives one order at a time, so that nothing queues here.
    private let thread: NIOThreadPool
    private let files: Mutex<StateFiles<DirectoryVolume>>
    private let eventLoop: any EventLoop

    init(_ settings: StateSettings, node: NodeID, eventLoop: any EventLoop, random: RandomSource = .system) throws(StateVolumeError) {
        guard let key = settings.key else { throw StateVolumeError("read the credential of [state]: $CREDENTIALS_DIRECTORY is not set", 0) }
        let volume = try DirectoryVolume(settings.directory)
        files = Mutex(StateFiles(volume: volume, master: key, node: node, random: random))
        thread = NIOThreadPool(numberOfThreads: 1)
        self.eventLoop = eventLoop
        thread.start()
    }

    /// What is there, and the beginning of a new life. Takes as long as the file is long: before anything is served.
    func open() -> StateOpening { files.withLock { $0.open(at: wallMilliseconds()) } }

    /// - Parameter answer: called on the event loop.
    func order(_ order: StateOrder, _ answer: @escaping @Sendable (StateEvent) -> Void) {
        thread.submit { state in
            guard state == .active else { return }
            let event = self.files.withLock { $0.carryOut(order) }
            self.eventLoop.execute { answer(event) }
        }
    }

    /// Waits for the disk, and writes what is left.
    ///
    /// - Returns: what could not be done, for people.
    func stop(last orders: [StateOrder]) -> String? {
        try? thread.syncShutdownGracefully()
        return files.withLock { files in
            for order in orders {
                if case .failed(let reason) = files.carryOut(order) { return reason }
            }
            return nil
        }
    }
}
