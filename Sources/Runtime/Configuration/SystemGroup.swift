import Glibc

/// A group of this host.
enum SystemGroup {
    /// `nil` when there is none of this name.
    static func identifier(of name: String) -> UInt32? {
        // Before there is a second thread: the answer stands in memory that all threads share.
        getgrnam(name)?.pointee.gr_gid
    }
}
