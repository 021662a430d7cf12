import Glibc

/// A program that the daemon runs with its own privileges.
enum ProgramFile {
    /// What speaks against running it, and what to do; `nil`: nothing.
    static func problem(_ path: String) -> (what: String, remedy: String)? {
        guard path.hasPrefix("/") else { return ("\"\(path)\" is not an absolute path", "write the whole path, from /") }
        var status = stat()
        guard stat(path, &status) == 0 else { return ("cannot find \(path): \(errorText())", "check the path and its permissions") }
        guard status.st_mode & S_IFMT == S_IFREG else { return ("\(path) is no file", "name a program") }
        guard status.st_mode & 0o100 != 0 else { return ("\(path) cannot be executed", "run: chmod 755 \(path)") }
        // Whoever can change it can do what the daemon may.
        guard status.st_mode & 0o022 == 0 else {
            return ("\(path) can be written by others (mode \(String(status.st_mode & 0o777, radix: 8)))", "run: chmod 755 \(path)")
        }
        guard status.st_uid == 0 || status.st_uid == geteuid() else {
            return ("\(path) belongs to user \(status.st_uid)", "run: chown root \(path)")
        }
        return nil
    }
}
