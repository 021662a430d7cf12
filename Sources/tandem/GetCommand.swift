import ArgumentParser
import Context
import Control
import Cryptography
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
        try reportingErrors {
            let passphrase = try passphraseFile.map(SecretFile.passphrase)
            let client = try ControlClient(path: socketOptions.socket, patienceSeconds: 30)
            // Found out before the session is taken away, not after. The daemon wakes up meanwhile.
            let target = try output.flatMap { $0 == "-" ? nil : try FreshFile($0) }
            let message = try client.perform(.get(GetRequest(name: name, detach: detach)))
            let summary = try ContextSummary(vici: message)
            guard summary.success, !summary.document.isEmpty else {
                throw complaint("get failed: \(summary.error ?? "no reason given")")
            }
            let text = try document(summary.text, passphrase)
            guard let target else { return write(text) }
            do {
                try target.fill(Array(text.utf8))
            } catch let failure as NewFile.Failure {
                // A detached session is nowhere else any more.
                if detach {
                    write(text)
                    throw complaint("\(failure.message); the context went to standard output")
                }
                throw complaint(failure.message)
            }
            if format.json { print(summary.json.text) } else { print(printable(told(summary))) }
        }
    }

    private func told(_ summary: ContextSummary) -> String {
        let what = "#\(summary.uniqueID ?? 0) of '\(summary.remoteID ?? "")'"
        return detach ? "\(what) has left this gateway: \(output ?? "")" : "snapshot of \(what): \(output ?? "")"
    }

    private func document(_ line: String, _ passphrase: SecretBytes?) throws -> String {
        let bytes = Array(line.utf8)
        guard let passphrase else { return (try? SessionContext.indented(bytes)) ?? line }
        do { return try SealedContext.seal(bytes, passphrase: passphrase, random: .system) } catch {
            // Better in clear in a file of root's than lost.
            guard detach else { throw complaint("the context cannot be sealed: \(error)") }
            _ = complaint("the context cannot be sealed and is written as it is: \(error)")
            return line
        }
    }

    private func write(_ text: String) { print(text, terminator: "") }
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
        try reportingErrors {
            var bytes = try SecretFile.read(file, limit: 2 << 20)
            do throws(ContextError) {
                if SealedContext.isSealed(bytes) {
                    guard let passphraseFile else { throw ContextError.passphraseNeeded }
                    bytes = try SealedContext.open(bytes, passphrase: try passphrase(in: passphraseFile))
                }
                bytes = try SessionContext.compact(bytes)
            } catch {
                throw complaint("put refused: \(error)", ExitStatus.refused)
            }
            let client = try ControlClient(path: socketOptions.socket, patienceSeconds: 30)
            let request = PutRequest(document: String(decoding: bytes, as: UTF8.self), local: local)
            let summary = try ContextSummary(vici: try client.perform(.put(request)))
            if format.json { print(summary.json.text) }
            guard summary.success else {
                throw complaint("put refused: \(summary.error ?? "no reason given")", ExitStatus.refused)
            }
            guard !format.json else { return }
            let what = "'\(summary.remoteID ?? "")' goes on here as #\(summary.uniqueID ?? 0)"
            print(printable("\(what): \(summary.local ?? "") - \(summary.remote ?? ""), \(summary.children ?? 0) CHILD SAs"))
        }
    }

    private func passphrase(in path: String) throws(ContextError) -> SecretBytes {
        guard let passphrase = try? SecretFile.passphrase(in: path) else { throw .passphraseNeeded }
        return passphrase
    }
}
