/// A certificate by which one node of the pair knows the other.
public struct CertificateSummary: Hashable, Sendable {
    /// Whose it is.
    public var node: String = ""
    /// Of its DER, in hexadecimal.
    public var sha256: String = ""
    /// When it ends, in milliseconds since 1970, UTC.
    public var notAfterMilliseconds: Int64 = 0
    /// Below 0 when it has ended.
    public var daysLeft: Int64 = 0
    /// False: that node wants to use it, and has not been seen to.
    public var isInUse: Bool = false

    public init() {}

    public init(node: String, sha256: String, notAfterMilliseconds: Int64, daysLeft: Int64, isInUse: Bool) {
        self.node = node
        self.sha256 = sha256
        self.notAfterMilliseconds = notAfterMilliseconds
        self.daysLeft = daysLeft
        self.isInUse = isInUse
    }
}

extension CertificateSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        coder.text("node", &node)
        coder.text("sha256", &sha256)
        coder.number("not-after-ms", &notAfterMilliseconds)
        coder.number("days-left", &daysLeft)
        coder.flag("in-use", &isInUse)
    }
}
