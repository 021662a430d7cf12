import ArgumentParser
import Glibc

struct GetCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get", abstract: "Take a session's context out, for another gateway.",
        discussion: "The context holds the session's keys: whoever has it has the session. See context.md.")

    @Argument(help: "A session's number, or a connection, a peer's identity or address, or a leased address that only one session has.")
    var name: String

    @Option(name: [.customShort("o"), .long], help: ArgumentHelp("Where to write it; - is standard output.", valueName: "file"))
    var output: String?

    @Flag(help: "The session leaves this gateway; its peer is not told.")
    var detach = false

    @Option(help: ArgumentHelp("Seal the context with the passphrase in this file's first line.", valueName: "file"))
    var passphraseFile: String?

    @OptionGroup var socketOptions: SocketOptions
    @OptionGroup var format: FormatOptions

    func validate() throws {
        guard !name.isEmpty else { throw ValidationError("NAME is empty") }
        if format.json, output == nil || output == "-" { throw ValidationError("--json needs -o FILE: the context is no part of it") }
        if output == nil, isatty(STDOUT_FILENO) != 0 {
            throw ValidationError("keys are not shown on a terminal: name a file with -o, or say -o -")
        }
    }

    func run() throws {
        try ContextGet(
            name: name, output: output, detach: detach, passphraseFile: passphraseFile, socket: socketOptions.socket, json: format.json
        ).run()
    }
}

struct PutCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "put", abstract: "Install a context that another gateway gave, and go on with its session.",
        discussion: "One context goes to one gateway, once. Refusals leave everything as it was, with exit status 2.")

    @Argument(help: ArgumentHelp("The file that tandem get wrote; - is standard input.", valueName: "file"))
    var file: String

    @Option(help: ArgumentHelp("The passphrase is in this file's first line.", valueName: "file"))
    var passphraseFile: String?

    @Option(help: ArgumentHelp("Go on at this address of the gateway.", valueName: "address"))
    var local: String?

    @OptionGroup var socketOptions: SocketOptions
    @OptionGroup var format: FormatOptions

    func run() throws {
        try ContextPut(
            file: file, passphraseFile: passphraseFile, local: local, socket: socketOptions.socket, json: format.json
        ).run()
    }
}
