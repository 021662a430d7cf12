import ArgumentParser
import Glibc

/// What the daemon's program does: it has what reads the configuration and what speaks to the kernel, both of them large.
private func becomeDaemon(_ arguments: [String]) throws -> Never {
    guard let program = findDaemon() else { throw complaint("the program tandemd was not found beside this one, nor in $PATH") }
    let pointers = ([program] + arguments).map { strdup($0) } + [nil]
    execv(program, pointers)
    throw complaint("cannot run \(program): \(String(cString: strerror(errno)))")
}

/// Beside this program, in PREFIX/sbin or PREFIX/bin, or in `$PATH`; `nil` when nowhere.
private func findDaemon() -> String? {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
    var folders: [String] = []
    if count > 0 {
        let own = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let folder = own[..<(own.lastIndex(of: "/") ?? own.startIndex)]
        folders = ["\(folder)", "\(folder)/../sbin", "\(folder)/../bin"]
    }
    folders += getenv("PATH").map { String(cString: $0).split(separator: ":").map(String.init) } ?? []
    return folders.map { "\($0)/tandemd" }.first { access($0, X_OK) == 0 }
}

/// Their options, and what `--help` says of them, are the daemon's program's.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "check", abstract: "Check a configuration file and everything it names.")

    @Argument(parsing: .captureForPassthrough)
    var arguments: [String] = []

    func run() throws { try becomeDaemon(["check"] + arguments) }
}

struct FenceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fence", abstract: "Give up this host's shared addresses and outbound SAs, without the daemon.")

    @Argument(parsing: .captureForPassthrough)
    var arguments: [String] = []

    func run() throws { try becomeDaemon(["fence"] + arguments) }
}
