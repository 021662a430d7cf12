/// How a `tandem pair rotate` ended.
public struct RotationSummary: Hashable, Sendable {
    public enum Outcome: String, CaseIterable, Hashable, Sendable {
        /// The new certificate is in use.
        case done
        /// Nothing was begun.
        case refused
        /// The old one stays in use.
        case failed
    }

    public var outcome: Outcome = .failed
    /// Why it was refused or failed, or what is still open; empty when all is done.
    public var reason: String = ""
    /// Of the new certificate, in hexadecimal; empty when there is none.
    public var certificateSHA256: String = ""
    /// When it ends, in milliseconds since 1970, UTC.
    public var notAfterMilliseconds: Int64 = 0
    public var totalMicroseconds: Int64 = 0
    /// Other gateways of the configuration, which may know this node by the old one.
    public var gateways: [String] = []

    public init() {}

    public init(outcome: Outcome, reason: String) {
        self.outcome = outcome
        self.reason = reason
    }
}

extension RotationSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        var word = outcome.rawValue
        coder.text("outcome", &word)
        outcome = Outcome(rawValue: word) ?? .failed
        coder.text("reason", &reason)
        coder.text("certificate-sha256", &certificateSHA256)
        coder.number("not-after-ms", &notAfterMilliseconds)
        coder.fine("total", microseconds: &totalMicroseconds)
        coder.list("gateways", &gateways)
    }

    public func vici() -> VICIMessage { message() }
    public init(vici message: VICIMessage) throws(VICIError) { try self.init(message: message) }
    public var json: JSON { jsonObject }
}
