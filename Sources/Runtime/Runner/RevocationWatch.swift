import Cryptography
import Glibc
import NIOCore
import NIOPosix
import Node

/// Looks at the files of `crls` from time to time; the event loop never waits for a disk.
///
/// Belongs to the node's event loop.
final class RevocationWatch {
    /// A list that revokes somebody counts within this time; to look costs a few calls.
    static let interval: TimeAmount = .seconds(60)

    private let eventLoop: any EventLoop
    private let interval: TimeAmount
    private let thread = NIOThreadPool(numberOfThreads: 1)
    private let found: (RevocationFiles.Finding) -> Void
    private var files: RevocationFiles
    private var isStopped = false

    /// - Parameter found: called after every look that brought anything.
    init(
        _ files: RevocationFiles, eventLoop: any EventLoop, interval: TimeAmount = RevocationWatch.interval,
        found: @escaping (RevocationFiles.Finding) -> Void
    ) {
        self.files = files
        self.eventLoop = eventLoop
        self.interval = interval
        self.found = found
        thread.start()
        lookLater()
    }

    deinit { thread.shutdownGracefully { _ in } }

    func stop() { isStopped = true }

    private func lookLater() {
        eventLoop.assumeIsolated().scheduleTask(in: interval) { [weak self] in self?.look() }
    }

    private func look() {
        guard !isStopped else { return }
        let files = files
        let future = thread.runIfActive(eventLoop: eventLoop) {
            var files = files
            let finding = files.refresh(wallSeconds: Int64(time(nil)))
            return (files, finding)
        }
        future.assumeIsolated().whenComplete { [weak self] result in
            guard let self, !self.isStopped else { return }
            if case .success(let (files, finding)) = result {
                self.files = files
                if finding.lists != nil || !finding.lines.isEmpty || finding.failures > 0 { self.found(finding) }
            }
            self.lookLater()
        }
    }
}
