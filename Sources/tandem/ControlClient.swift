import Control
import Glibc

/// A blocking client of the control socket.
final class ControlClient {
    /// What went wrong, in one sentence for the operator.
    struct Failure: Error {
        var message: String
    }

    private let path: String
    private let descriptor: Int32

    /// Connects.
    ///
    /// - Parameter patienceSeconds: how long an answer may take; `nil` without limit.
    init(path: String, patienceSeconds: Int? = 10) throws(Failure) {
        self.path = path
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let capacity = MemoryLayout.size(ofValue: address.sun_path) - 1
        guard path.utf8.count <= capacity else { throw Failure(message: "\(path): the path is longer than \(capacity) bytes") }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Failure(message: "cannot make a socket: \(ControlClient.text(errno))") }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        // A throw from here on runs deinit, which closes it.
        guard result == 0 else { throw Failure(message: "cannot connect to \(path): " + ControlClient.remedy(errno)) }
        setPatience(seconds: patienceSeconds)
    }

    deinit { if descriptor >= 0 { Glibc.close(descriptor) } }

    /// How long an answer may take from now on; `nil` without limit.
    func setPatience(seconds: Int?) {
        var limit = timeval(tv_sec: seconds ?? 0, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    private static func text(_ code: Int32) -> String { String(cString: strerror(code)) }

    private static func remedy(_ code: Int32) -> String {
        switch code {
        case ENOENT, ECONNREFUSED: return "is tandemd running? (systemctl status tandemd)"
        case EACCES, EPERM: return "permission denied: run this as root"
        default: return text(code)
        }
    }

    // MARK: Commands

    /// Asks for an event to be sent to us.
    func register(_ event: String) throws(Failure) {
        try send(.register(event: event))
        while true {
            switch try receive() {
            case .confirmed: return
            case .event: continue
            case .unknownEvent: throw Failure(message: "the daemon does not know the event '\(event)': is it tandemd?")
            case .request, .response, .unknownCommand, .register, .unregister: throw unexpected()
            }
        }
    }

    /// Sends a command and awaits its answer; events that come before it go to `onEvent`.
    @discardableResult
    func perform(
        _ request: ControlRequest, onEvent: (_ name: String, _ message: VICIMessage) throws(VICIError) -> Void = { _, _ in }
    ) throws -> VICIMessage {
        guard let (command, arguments) = request.vici() else { throw unexpected() }
        try send(.request(command: command, arguments))
        while true {
            switch try receive() {
            case .response(let message): return message
            case .event(let name, let message): try onEvent(name, message)
            case .unknownCommand: throw Failure(message: "the daemon does not know the command '\(command)': is it tandemd?")
            case .request, .register, .unregister, .confirmed, .unknownEvent: throw unexpected()
            }
        }
    }

    /// As `perform`, for commands whose answer shows something: an answer that is an error is thrown.
    func query(
        _ request: ControlRequest, onEvent: (_ name: String, _ message: VICIMessage) throws(VICIError) -> Void = { _, _ in }
    ) throws -> VICIMessage {
        let message = try perform(request, onEvent: onEvent)
        if message["success"] == "no" { throw Failure(message: message["errmsg"] ?? "the daemon failed and does not say why") }
        return message
    }

    /// Waits for the next event.
    func nextEvent() throws(Failure) -> (name: String, message: VICIMessage) {
        guard case .event(let name, let message) = try receive() else { throw unexpected() }
        return (name, message)
    }

    private func unexpected() -> Failure { Failure(message: "what answers at \(path) does not follow the VICI protocol") }

    // MARK: Packets

    private func send(_ packet: VICIPacket) throws(Failure) {
        let bytes: [UInt8]
        do {
            bytes = try packet.encode()
        } catch {
            throw Failure(message: "the request cannot be sent: \(error)")
        }
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw lost() }
            sent += count
        }
    }

    private func receive() throws(Failure) -> VICIPacket {
        let header = try receive(count: 4)
        guard let length = try? VICIPacket.length(of: header) else {
            throw Failure(message: "what answers at \(path) does not speak VICI")
        }
        let bytes = try receive(count: length)
        do {
            return try VICIPacket(parsing: bytes)
        } catch {
            throw Failure(message: "the daemon's answer cannot be read: \(error)")
        }
    }

    private func receive(count: Int) throws(Failure) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var received = 0
        while received < count {
            let more = bytes[received...].withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) }
            if more < 0 && errno == EINTR { continue }
            if more < 0 && errno == EAGAIN { throw Failure(message: "no answer from \(path) in time") }
            guard more > 0 else { throw lost() }
            received += more
        }
        return bytes
    }

    private func lost() -> Failure { Failure(message: "the daemon closed the connection (journalctl -u tandemd says more)") }
}
