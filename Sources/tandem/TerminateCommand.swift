import ArgumentParser
import Control

struct TerminateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "terminate", abstract: "Close sessions: the peers are told, and both nodes forget them.")

    @Argument(help: "A connection's name, or a session's number.")
    var name: String

    @Flag(help: "NAME is a child's name, or a CHILD SA's number: close only that.")
    var child = false

    @Flag(help: "Do not wait for the peer's answer.")
    var force = false

    @Option(help: "Seconds to wait; 0 does not wait at all.")
    var timeout: Int = 30

    @OptionGroup var socketOptions: SocketOptions
    @OptionGroup var format: FormatOptions

    func validate() throws {
        guard (0...3600).contains(timeout) else { throw ValidationError("--timeout is between 0 and 3600 seconds") }
        guard !name.isEmpty else { throw ValidationError("NAME is empty") }
    }

    func run() throws {
        try reportingErrors {
            var request = TerminateRequest(force: force, timeoutMilliseconds: Int64(timeout) * 1000)
            let number = UInt32(name)
            if child {
                (request.child, request.childUniqueID) = (number == nil ? name : nil, number)
            } else {
                (request.connection, request.uniqueID) = (number == nil ? name : nil, number)
            }
            let done = try carryOut(.terminate(request), socket: socketOptions.socket, timeout: timeout, json: format.json)
            let count = done.terminated.flatMap { terminated in done.matches.map { "closed \(terminated) of \($0)" } }
            guard done.success else {
                let reached = done.matches ?? 0 > 0 ? count.map { " (\($0))" } ?? "" : ""
                throw complaint("terminate failed: \(done.error)\(reached)")
            }
            if let count, !format.json { print(count) }
        }
    }
}
