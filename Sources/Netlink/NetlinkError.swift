import Glibc

/// What the kernel refused, or what went wrong on the way to it.
public struct NetlinkError: Error, Hashable, Sendable {
    /// What was tried, with its object: `add ESP SA c0000001 to 192.0.2.1`. Never a key.
    public var operation: String
    /// The errno; 0 when the kernel's answer itself made no sense.
    public var code: Int32
    /// The kernel's own words where it has some (NLMSGERR_ATTR_MSG), or what was wrong with its answer.
    public var detail: String

    public init(operation: String, code: Int32, detail: String = "") {
        self.operation = operation
        self.code = code
        self.detail = detail
    }

    /// The object is there already.
    public var isAlreadyThere: Bool { code == EEXIST }

    /// The object that was to be changed or deleted is not there, under whichever number the kernel says so.
    public var isNotThere: Bool { [ENOENT, ESRCH, EADDRNOTAVAIL, ENODEV].contains(code) }
}

extension NetlinkError: CustomStringConvertible {
    public var description: String {
        let reason = code == 0 ? "" : String(cString: strerror(code))
        return operation + ": " + [reason, detail].filter { !$0.isEmpty }.joined(separator: ": ")
    }
}
