/// What a message may hold at most. RFC 7296 sets only the widths of count fields; a sender who is not yet authenticated must
/// not make us build long lists. Each limit is several times what known implementations send.
public enum IKEWireLimits {
    /// Octets of a message: no UDP datagram holds more.
    public static let messageLengthMax = 65_535
    /// Payloads in one chain. A large IKE_AUTH has some twenty; each costs at least 4 octets, so that 64 KiB could hold 16,000.
    public static let payloadsPerMessageMax = 128
    /// Proposals in one SA payload. Windows sends 18; the number field ends at 255.
    public static let proposalsPerSAMax = 64
    /// Transforms in one proposal. strongSwan's default proposal has some forty; the count field ends at 255.
    public static let transformsPerProposalMax = 128
    /// Attributes in one transform. Only Key Length is defined, and no type may come twice.
    public static let attributesPerTransformMax = 8
    /// Traffic selectors in one TS payload. Each pair of a TSi and a TSr entry becomes a policy in the kernel: 64 · 64 at most.
    public static let selectorsPerTSMax = 64
    /// Attributes in one Configuration payload: two addresses, servers and subnets; long split-tunnel lists have tens.
    public static let attributesPerConfigurationMax = 128
    /// SPIs in one Delete payload: several times the CHILD SAs that one IKE SA may have.
    public static let spisPerDeleteMax = 128
    /// Octets of a nonce (RFC 7296 §3.9).
    public static let nonceLengthRange = 16...256
}
