/// A CHILD SA as strongSwan lists it, with Tandem's counters beside it. No key is in it.
public struct ChildSummary: Hashable, Sendable {
    /// The child's name in the configuration.
    public var name: String = ""
    public var uniqueID: UInt32 = 0
    /// strongSwan's number for a set of policies; Tandem has one for each child of the configuration.
    public var reqid: UInt32 = 0
    /// `INSTALLED`; `REKEYED` when a successor replaced it.
    public var state: String = ""
    /// `TUNNEL` or `TRANSPORT`.
    public var mode: String = ""
    /// ESP inside UDP.
    public var isEncapsulated: Bool = false
    public var inboundSPI: UInt32 = 0
    public var outboundSPI: UInt32 = 0
    public var encryption: String = ""
    public var encryptionKeyBits: Int = 0
    /// `nil` with an AEAD cipher.
    public var integrity: String? = nil
    /// The group of the last PFS exchange.
    public var keyExchange: String? = nil
    public var hasExtendedSequenceNumbers: Bool = false
    public var inboundBytes: UInt64 = 0
    public var inboundPackets: UInt64 = 0
    /// How long ago the last packet came in; `nil` when none did.
    public var inboundUseMilliseconds: Int64? = nil
    public var outboundBytes: UInt64 = 0
    public var outboundPackets: UInt64 = 0
    public var outboundUseMilliseconds: Int64? = nil
    /// Until it is rekeyed; `nil` when we never do.
    public var rekeyMilliseconds: Int64? = nil
    /// Until it expires.
    public var lifeMilliseconds: Int64? = nil
    /// How long ago it was established.
    public var installedMilliseconds: Int64 = 0
    /// As swanctl prints them: `10.1.0.0/16`.
    public var localSelectors: [String] = []
    public var remoteSelectors: [String] = []
    /// The highest sequence number accepted from the peer.
    public var inboundTop: UInt64 = 0
    /// The sequence number that the next packet to the peer will have, where this node knows it.
    public var outboundNext: UInt64? = nil
    /// The last outbound sequence number that the owner may use.
    public var leaseLimit: UInt64 = 0
    /// The slice of sequence numbers that it uses: the higher, the more takeovers the SA has seen.
    public var leaseSlice: UInt64 = 0

    public init() {}

    public init(
        name: String, uniqueID: UInt32, reqid: UInt32, state: String, mode: String, isEncapsulated: Bool, inboundSPI: UInt32,
        outboundSPI: UInt32, encryption: String, encryptionKeyBits: Int, integrity: String? = nil, keyExchange: String? = nil,
        hasExtendedSequenceNumbers: Bool, inboundBytes: UInt64, inboundPackets: UInt64, inboundUseMilliseconds: Int64? = nil,
        outboundBytes: UInt64, outboundPackets: UInt64, outboundUseMilliseconds: Int64? = nil, rekeyMilliseconds: Int64? = nil,
        lifeMilliseconds: Int64? = nil, installedMilliseconds: Int64, localSelectors: [String], remoteSelectors: [String],
        inboundTop: UInt64, outboundNext: UInt64? = nil, leaseLimit: UInt64, leaseSlice: UInt64
    ) {
        self.name = name
        self.uniqueID = uniqueID
        self.reqid = reqid
        self.state = state
        self.mode = mode
        self.isEncapsulated = isEncapsulated
        self.inboundSPI = inboundSPI
        self.outboundSPI = outboundSPI
        self.encryption = encryption
        self.encryptionKeyBits = encryptionKeyBits
        self.integrity = integrity
        self.keyExchange = keyExchange
        self.hasExtendedSequenceNumbers = hasExtendedSequenceNumbers
        self.inboundBytes = inboundBytes
        self.inboundPackets = inboundPackets
        self.inboundUseMilliseconds = inboundUseMilliseconds
        self.outboundBytes = outboundBytes
        self.outboundPackets = outboundPackets
        self.outboundUseMilliseconds = outboundUseMilliseconds
        self.rekeyMilliseconds = rekeyMilliseconds
        self.lifeMilliseconds = lifeMilliseconds
        self.installedMilliseconds = installedMilliseconds
        self.localSelectors = localSelectors
        self.remoteSelectors = remoteSelectors
        self.inboundTop = inboundTop
        self.outboundNext = outboundNext
        self.leaseLimit = leaseLimit
        self.leaseSlice = leaseSlice
    }
}

extension ChildSummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        identityFields(&coder)
        counterFields(&coder)
        coder.list("local-ts", &localSelectors)
        coder.list("remote-ts", &remoteSelectors)
        guard !coder.isStock else { return }
        coder.number("inbound-top", &inboundTop)
        coder.number("outbound-next", &outboundNext)
        coder.number("lease-limit", &leaseLimit)
        coder.number("lease-slice", &leaseSlice)
    }

    private mutating func identityFields(_ coder: inout some FieldCoder) {
        coder.text("name", &name)
        coder.number("uniqueid", &uniqueID)
        coder.number("reqid", &reqid)
        coder.text("state", &state)
        coder.text("mode", &mode)
        var protocolName = "ESP"
        coder.text("protocol", &protocolName)
        coder.flag("encap", &isEncapsulated)
        ChildSummary.spi("spi-in", &inboundSPI, &coder)
        ChildSummary.spi("spi-out", &outboundSPI, &coder)
        coder.text("encr-alg", &encryption)
        coder.number("encr-keysize", &encryptionKeyBits)
        coder.text("integ-alg", &integrity)
        coder.text("dh-group", &keyExchange)
        coder.flag("esn", &hasExtendedSequenceNumbers, stockTrue: "1")
    }

    private static func spi(_ key: String, _ value: inout UInt32, _ coder: inout some FieldCoder) {
        var wide = UInt64(value)
        coder.hex(key, &wide, digits: 8)
        value = UInt32(truncatingIfNeeded: wide)
    }

    private mutating func counterFields(_ coder: inout some FieldCoder) {
        coder.number("bytes-in", &inboundBytes)
        coder.number("packets-in", &inboundPackets)
        coder.span("use-in", milliseconds: &inboundUseMilliseconds)
        coder.number("bytes-out", &outboundBytes)
        coder.number("packets-out", &outboundPackets)
        coder.span("use-out", milliseconds: &outboundUseMilliseconds)
        coder.span("rekey-time", milliseconds: &rekeyMilliseconds)
        coder.span("life-time", milliseconds: &lifeMilliseconds)
        coder.span("install-time", milliseconds: &installedMilliseconds)
    }
}
