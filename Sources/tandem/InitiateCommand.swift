import ArgumentParser
import Control

struct InitiateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "initiate", abstract: "Set up a CHILD SA, and its IKE SA if there is none.")

    @Argument(help: "The child's name in the configuration.")
    var name: String

    @Option(help: "The connection, when several have a child of that name.")
    var connection: String?

    @Option(help: "Seconds to wait; 0 does not wait at all.")
    var timeout: Int = 30

    @OptionGroup var socketOptions: SocketOptions
    @OptionGroup var format: FormatOptions

    func validate() throws {
        guard (0...3600).contains(timeout) else { throw ValidationError("--timeout is between 0 and 3600 seconds") }
    }

    func run() throws {
        try reportingErrors {
            let request = InitiateRequest(child: name, connection: connection, timeoutMilliseconds: Int64(timeout) * 1000)
            let done = try carryOut(.initiate(request), socket: socketOptions.socket, timeout: timeout, json: format.json)
            guard done.success else { throw complaint("initiate failed: \(done.error)") }
        }
    }
}

/// Runs a command that reports its progress, and shows that; with `json` how it ended, and nothing else.
func carryOut(_ request: ControlRequest, socket: String, timeout: Int, json: Bool) throws -> DoneSummary {
    // The daemon keeps the time; this is for a daemon that does not answer at all.
    let client = try ControlClient(path: socket, patienceSeconds: timeout + 10)
    try client.register(ControlEventName.controlLog)
    let answer = try client.perform(request) { _, message throws(VICIError) in
        let line = try ControlLogLine(vici: message)
        if !json { print(printable("[\(line.group)] \(line.message)")) }
    }
    let done = try DoneSummary(vici: answer)
    if json { print(done.json.text) }
    return done
}
