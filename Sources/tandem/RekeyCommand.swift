import ArgumentParser
import Control

struct RekeyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rekey", abstract: "Replace an IKE SA or a CHILD SA by one with fresh keys.",
        discussion: "Begins the exchange and does not wait for the peer; tandem events tells how it went.")

    @Argument(help: "The connection, or with --child the connection that the child belongs to.")
    var name: String

    @Option(help: "The CHILD SA of this name, instead of the IKE SA.")
    var child: String?

    @OptionGroup var socketOptions: SocketOptions
    @OptionGroup var format: FormatOptions

    func run() throws {
        try reportingErrors {
            let request = RekeyRequest(child: child, connection: name)
            let done = try carryOut(.rekey(request), socket: socketOptions.socket, timeout: 10, json: format.json)
            guard done.success else { throw complaint("rekey failed: \(done.error)") }
        }
    }
}
