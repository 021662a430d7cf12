import CMNL
import Glibc

/// In which network namespace a thread opens its sockets. A socket stays where it was opened.
public enum NetworkNamespace {
    /// Gives the calling thread a new namespace with nothing in it; it goes with the last thread and socket that uses it.
    public static func isolateThread() throws(NetlinkError) {
        guard tandem_unshare_network() == 0 else { throw NetlinkError(operation: "make a network namespace", code: errno) }
    }

    /// Puts the calling thread into the namespace that a file stands for, such as `/run/netns/NAME`.
    public static func enter(path: String) throws(NetlinkError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw NetlinkError(operation: "open \(path)", code: errno) }
        defer { close(descriptor) }
        guard tandem_enter_network(descriptor) == 0 else { throw NetlinkError(operation: "enter \(path)", code: errno) }
    }
}
