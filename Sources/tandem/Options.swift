import ArgumentParser
import Control
import Glibc

/// Where the daemon's control socket is.
struct SocketOptions: ParsableArguments {
    @Option(name: .long, help: ArgumentHelp("The daemon's control socket.", valueName: "path"))
    var socket = SocketOptions.standard

    static let standard = "/run/tandem/tandem.vici"
}

/// In which form something is shown.
struct FormatOptions: ParsableArguments {
    @Flag(name: .long, help: "Print JSON: stable keys, times in milliseconds.")
    var json = false
}

/// What a command's exit status says.
enum ExitStatus {
    static let failed = ExitCode(1)
    /// Something is not ready; nothing was changed.
    static let refused = ExitCode(2)
}

/// Runs a command's work; what goes wrong is said in one line on standard error.
func reportingErrors(_ work: () throws -> Void) throws {
    do {
        try work()
    } catch let error as ControlClient.Failure {
        throw complaint(error.message)
    } catch let error as VICIError {
        throw complaint("the daemon's answer cannot be read: \(error)")
    }
}

/// Says what went wrong, and gives the exit status for it.
func complaint(_ message: String, _ status: ExitCode = ExitStatus.failed) -> ExitCode {
    fflush(nil)
    let line = Array("tandem: \(printable(message))\n".utf8)
    _ = write(STDERR_FILENO, line, line.count)
    return status
}

/// Text from the daemon or a peer, without characters that steer a terminal.
func printable(_ text: String) -> String {
    var out = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
        let isControl = scalar.value < 0x20 && scalar != "\n" || (0x7F..<0xA0).contains(scalar.value)
        out.append(isControl ? "?" : scalar)
    }
    return String(out)
}

/// The wall clock: milliseconds since 1970, UTC.
func wallMilliseconds() -> Int64 {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    return Int64(now.tv_sec) * 1000 + Int64(now.tv_nsec) / 1_000_000
}
