import Glibc
import Netlink
import Synchronization
import Testing

/// Tests that change the network need to be root, and get a network namespace of their own that ends with them.
enum Isolated {
    static let isPossible: Bool = geteuid() == 0 && ((try? run { _ in true }) ?? false)

    private final class Job<R>: @unchecked Sendable {
        let body: () throws -> R
        var result: Result<R, any Error>?

        init(_ body: @escaping () throws -> R) { self.body = body }
    }

    /// Runs `body` on a new thread in an empty network namespace, with a name for an interface in it.
    static func run<R: Sendable>(_ body: @escaping @Sendable (String) throws -> R) throws -> R {
        let job = Job {
            try NetworkNamespace.isolateThread()
            return try body("lo")
        }
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { argument in
                let run = Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue().run
                run()
                return nil
            }, Unmanaged.passRetained(Box { job.result = Result { try job.body() } }).toOpaque())
        guard code == 0 else { throw NetlinkError(operation: "start a thread", code: code) }
        pthread_join(thread, nil)
        return try job.result!.get()
    }

    private final class Box {
        let run: () -> Void
        init(_ run: @escaping () -> Void) { self.run = run }
    }
}

func bytes(_ hex: String) -> [UInt8] {
    let digits = hex.filter(\.isHexDigit)
    return stride(from: 0, to: digits.count, by: 2).map { offset in
        let start = digits.index(digits.startIndex, offsetBy: offset)
        return UInt8(digits[start..<digits.index(start, offsetBy: 2)], radix: 16)!
    }
}
