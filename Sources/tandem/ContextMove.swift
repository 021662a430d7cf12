import Context
import Control
import Cryptography
import Glibc

/// What `tandem get` does.
struct ContextGet {
    var name: String
    var output: String?
    var detach = false
    var passphraseFile: String?
    var socket = SocketOptions.standard
    var json = false

    func run() throws {
        try reportingErrors {
            let passphrase = try passphraseFile.map(SecretFile.passphrase)
            let client = try ControlClient(path: socket, patienceSeconds: 30)
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
            if json { print(summary.json.text) } else { print(printable(told(summary))) }
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

/// What `tandem put` does.
struct ContextPut {
    var file: String
    var passphraseFile: String?
    var local: String?
    var socket = SocketOptions.standard
    var json = false

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
            let client = try ControlClient(path: socket, patienceSeconds: 30)
            let request = PutRequest(document: String(decoding: bytes, as: UTF8.self), local: local)
            let summary = try ContextSummary(vici: try client.perform(.put(request)))
            if json { print(summary.json.text) }
            guard summary.success else {
                throw complaint("put refused: \(summary.error ?? "no reason given")", ExitStatus.refused)
            }
            guard !json else { return }
            let what = "'\(summary.remoteID ?? "")' goes on here as #\(summary.uniqueID ?? 0)"
            print(printable("\(what): \(summary.local ?? "") - \(summary.remote ?? ""), \(summary.children ?? 0) CHILD SAs"))
        }
    }

    private func passphrase(in path: String) throws(ContextError) -> SecretBytes {
        guard let passphrase = try? SecretFile.passphrase(in: path) else { throw .passphraseNeeded }
        return passphrase
    }
}
