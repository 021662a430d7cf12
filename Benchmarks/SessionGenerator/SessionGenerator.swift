import ArgumentParser
import Glibc
import Session

/// Sets up many sessions with a gateway and keeps them: it answers the gateway until its standard input ends.
///
/// One UDP socket, Tandem's own initiator, a pre-shared key; it sends no ESP. It takes commands on standard input, a line each:
/// `add N` sets up N more sessions, `sequence N` the same one after the other, and `check` asks the gateway on each session whether it
/// lives. Each task ends with one line, `established N of N in T ms`, `added …`, `sequence …: US US …` (microseconds of each) or
/// `alive …`.
@main
struct SessionGenerator: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "session-generator", abstract: "Establish many IKE sessions with a gateway, for measurements.")

    @Option(help: "The address to send from.") var local: String
    @Option(help: "The gateway's address.") var remote: String
    @Option(help: "How many sessions.") var count = 100
    @Option(help: "How many exchanges at once.") var parallel = 8
    @Option(help: "The pre-shared key.") var secret: String
    @Option(help: "The gateway's identity.") var gateway = "gw.example.net"
    @Option(help: "What is behind the gateway.") var network = "10.10.0.0/16"
    @Option(help: "Seconds for all of them.") var timeout = 120

    /// Sessions in one task.
    private static let counts = 0...200_000

    func validate() throws {
        guard SessionGenerator.counts.contains(count), (1...1024).contains(parallel), timeout > 0 else {
            throw ValidationError("--count is 0 to \(SessionGenerator.counts.upperBound), --parallel 1 to 1024, --timeout at least 1")
        }
    }

    func run() throws {
        guard let local = IPAddress(local), let remote = IPAddress(remote), let network = IPPrefix(network) else {
            throw ValidationError("--local and --remote take an address, --network a prefix")
        }
        var generator = try Generator(local: Endpoint(local, 500), remote: Endpoint(remote, 500), options: self, network: network)
        guard tell("established", generator.establish(count)) else { throw ExitCode.failure }
        var input = CommandInput()
        while let line = generator.nextCommand(from: &input) {
            let words = line.split(separator: " ")
            let number = words.count == 2 ? Int(words[1]).flatMap { SessionGenerator.counts.contains($0) ? $0 : nil } : nil
            switch (words.first, number) {
            case ("check", _): tell("alive", generator.check())
            case ("add", let number?): tell("added", generator.establish(number))
            case ("sequence", let number?): tell("sequence", generator.establishInTurn(number))
            default: print("not a command: \(line)")
            }
            fflush(nil)
        }
    }

    /// Prints how a task ended; true if it ended well for all sessions.
    @discardableResult
    private func tell(_ what: String, _ result: Generator.Result) -> Bool {
        let each = result.microseconds.isEmpty ? "" : ": " + result.microseconds.map(String.init).joined(separator: " ")
        print("\(what) \(result.count) of \(result.total) in \(result.milliseconds) ms\(each)")
        for (failure, times) in result.failures.sorted(by: { $0.key < $1.key }) { print("\(times) × \(failure)") }
        fflush(nil)
        return result.count == result.total
    }
}

/// Standard input, a line at a time, without waiting.
struct CommandInput {
    private var bytes: [UInt8] = []
    private var hasEnded = false

    enum Reading: Equatable {
        case nothing
        case line(String)
        case end
    }

    mutating func read() -> Reading {
        fill()
        guard let newline = bytes.firstIndex(of: UInt8(ascii: "\n")) else { return hasEnded ? .end : .nothing }
        defer { bytes.removeFirst(newline + 1) }
        return .line(String(decoding: bytes[..<newline], as: UTF8.self))
    }

    private mutating func fill() {
        var ready = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
        guard !hasEnded, poll(&ready, 1, 0) > 0 else { return }
        var buffer = [UInt8](repeating: 0, count: 1024)
        let count = Glibc.read(0, &buffer, buffer.count)
        if count > 0 { bytes += buffer.prefix(count) } else { hasEnded = true }
    }
}
