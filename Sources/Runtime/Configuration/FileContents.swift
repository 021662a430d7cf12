import Cryptography
import Glibc

/// Files that a configuration names: certificates, keys and shared secrets.
enum FileContents {
    /// No key, certificate or configuration of ours is near 4 MiB; a device or a log named by mistake is.
    static let bytesMax = 4 << 20

    enum Failure: Error, Hashable {
        case unreadable(String)
        case tooLarge
        /// Others than the owner may read it.
        case exposed(mode: UInt32)

        func what(_ path: String) -> String {
            switch self {
            case .unreadable(let reason): "cannot read \(path): \(reason)"
            case .tooLarge: "\(path) is larger than \(FileContents.bytesMax >> 20) MiB"
            case .exposed(let mode): "\(path) can be read by others (mode \(String(mode, radix: 8)))"
            }
        }

        func remedy(_ path: String) -> String {
            switch self {
            case .unreadable: "check the path and its permissions"
            case .tooLarge: "name the right file"
            case .exposed: "run: chmod 600 \(path)"
            }
        }
    }

    /// - Parameter isSecret: refuse a file that its group or others may read.
    static func read(_ path: String, isSecret: Bool) throws(Failure) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw .unreadable(errorText()) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .unreadable(errorText()) }
        guard status.st_mode & S_IFMT != S_IFDIR else { throw .unreadable("it is a directory") }
        if isSecret, status.st_mode & 0o077 != 0 { throw .exposed(mode: status.st_mode & 0o777) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        defer { chunk.withUnsafeMutableBytes { explicit_bzero($0.baseAddress!, $0.count) } }
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            guard count >= 0 else {
                if errno == EINTR { continue }
                throw .unreadable(errorText())
            }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
            guard bytes.count <= bytesMax else { throw .tooLarge }
        }
    }

    /// The mode's lower nine bits; `nil` when the file cannot be looked at.
    static func mode(_ path: String) -> UInt32? {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o777 : nil
    }
}

/// `errno` in words.
func errorText(_ number: Int32 = errno) -> String { String(cString: strerror(number)) }

/// A shared secret as swanctl reads it: `0x` and hexadecimal digits, `0s` and base64, or the text itself.
enum SecretText {
    static func parse(_ bytes: [UInt8]) -> [UInt8]? {
        guard bytes.count >= 2, bytes[0] == UInt8(ascii: "0") else { return bytes }
        switch bytes[1] {
        case UInt8(ascii: "x"): return hexadecimal(bytes.dropFirst(2))
        case UInt8(ascii: "s"): return base64(bytes.dropFirst(2))
        default: return bytes
        }
    }

    /// A file's content without the newline that editors put at its end.
    static func withoutLastNewline(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        if bytes.last == 0x0A { bytes.removeLast() }
        if bytes.last == 0x0D { bytes.removeLast() }
        return bytes
    }

    private static func hexadecimal(_ digits: ArraySlice<UInt8>) -> [UInt8]? {
        let values = digits.compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
        guard values.count == digits.count, values.count % 2 == 0 else { return nil }
        return stride(from: 0, to: values.count, by: 2).map { UInt8(values[$0] << 4 | values[$0 + 1]) }
    }

    private static func base64(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var digits = text
        while digits.last == UInt8(ascii: "=") { digits.removeLast() }
        var out: [UInt8] = []
        var bits: UInt32 = 0
        var count = 0
        for digit in digits {
            guard let value = alphabet.firstIndex(of: digit) else { return nil }
            bits = bits << 6 | UInt32(value)
            count += 6
            if count >= 8 {
                count -= 8
                out.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
            }
        }
        return digits.count % 4 == 1 ? nil : out
    }
}

enum AbsolutePath {
    /// The path, from the root: for a process that may be elsewhere.
    static func of(_ path: String) -> String {
        guard let resolved = realpath(path, nil) else { return path }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}
