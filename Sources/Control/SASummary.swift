/// An IKE SA and its CHILD SAs, as strongSwan's `list-sa` event has them, with what Tandem knows beside it. No key is in it.
public struct SASummary: Hashable, Sendable {
    /// The connection's name in the configuration.
    public var name: String = ""
    /// The number for people, strongSwan's unique id.
    public var uniqueID: UInt32 = 0
    /// `ESTABLISHED`, `REKEYING`, `DELETING`; `PASSIVE` where the node holds the session for its owner.
    public var state: String = ""
    public var localHost: String = ""
    public var localPort: UInt16 = 0
    public var localID: String = ""
    public var remoteHost: String = ""
    public var remotePort: UInt16 = 0
    public var remoteID: String = ""
    /// We began this IKE SA.
    public var isInitiator: Bool = false
    public var initiatorSPI: UInt64 = 0
    public var responderSPI: UInt64 = 0
    public var natLocal: Bool = false
    public var natRemote: Bool = false
    /// strongSwan's names, see `AlgorithmName`: `AES_GCM_16`.
    public var encryption: String = ""
    /// Bits.
    public var encryptionKeyBits: Int = 0
    /// `nil` with an AEAD cipher.
    public var integrity: String? = nil
    public var prf: String = ""
    public var keyExchange: String = ""
    /// How long ago the IKE SA was established.
    public var establishedMilliseconds: Int64 = 0
    /// Until we rekey it; `nil` when we never do.
    public var rekeyMilliseconds: Int64? = nil
    /// Addresses that were leased to the peer.
    public var remoteVirtualAddresses: [String] = []
    /// What we are doing: `IKE_DPD`, `IKE_DELETE`.
    public var activeTasks: [String] = []
    public var children: [ChildSummary] = []
    /// Names the session through every rekey, on both nodes.
    public var sessionID: UInt64 = 0
    /// The owning node's name.
    public var owner: String = ""
    /// This node owns it.
    public var isOwned: Bool = false
    /// The epoch of the ownership.
    public var epoch: UInt64 = 0
    /// The message ID of our next request.
    public var nextSendID: UInt32 = 0
    /// The message ID that the peer's next request must have.
    public var nextReceiveID: UInt32 = 0
    /// The message ID of our request that is not answered yet.
    public var pendingRequestID: UInt32? = nil
    /// The replaced IKE SA that the peer has not deleted yet: its local SPI.
    public var rekeyedSPI: String? = nil
    /// What the peer announced: `mobike`, `message-id-sync`, `redirect`, `fragmentation`.
    public var capabilities: [String] = []

    public init() {}

    public init(
        name: String, uniqueID: UInt32, state: String, localHost: String, localPort: UInt16, localID: String, remoteHost: String,
        remotePort: UInt16, remoteID: String, isInitiator: Bool, initiatorSPI: UInt64, responderSPI: UInt64, natLocal: Bool,
        natRemote: Bool, encryption: String, encryptionKeyBits: Int, integrity: String? = nil, prf: String, keyExchange: String,
        establishedMilliseconds: Int64, rekeyMilliseconds: Int64? = nil, remoteVirtualAddresses: [String], activeTasks: [String],
        children: [ChildSummary], sessionID: UInt64, owner: String, isOwned: Bool, epoch: UInt64, nextSendID: UInt32, nextReceiveID: UInt32,
        pendingRequestID: UInt32? = nil, rekeyedSPI: String? = nil, capabilities: [String]
    ) {
        self.name = name
        self.uniqueID = uniqueID
        self.state = state
        self.localHost = localHost
        self.localPort = localPort
        self.localID = localID
        self.remoteHost = remoteHost
        self.remotePort = remotePort
        self.remoteID = remoteID
        self.isInitiator = isInitiator
        self.initiatorSPI = initiatorSPI
        self.responderSPI = responderSPI
        self.natLocal = natLocal
        self.natRemote = natRemote
        self.encryption = encryption
        self.encryptionKeyBits = encryptionKeyBits
        self.integrity = integrity
        self.prf = prf
        self.keyExchange = keyExchange
        self.establishedMilliseconds = establishedMilliseconds
        self.rekeyMilliseconds = rekeyMilliseconds
        self.remoteVirtualAddresses = remoteVirtualAddresses
        self.activeTasks = activeTasks
        self.children = children
        self.sessionID = sessionID
        self.owner = owner
        self.isOwned = isOwned
        self.epoch = epoch
        self.nextSendID = nextSendID
        self.nextReceiveID = nextReceiveID
        self.pendingRequestID = pendingRequestID
        self.rekeyedSPI = rekeyedSPI
        self.capabilities = capabilities
    }
}

extension SASummary: Summary {
    mutating func fields(_ coder: inout some FieldCoder) {
        coder.title("name", &name)
        stockFields(&coder)
        if !coder.isStock { tandemFields(&coder) }
        coder.sections("child-sas", &children) { child, _ in "\(child.name)-\(child.uniqueID)" }
    }

    private mutating func stockFields(_ coder: inout some FieldCoder) {
        coder.number("uniqueid", &uniqueID)
        var version = 2
        coder.number("version", &version)
        coder.text("state", &state)
        coder.text("local-host", &localHost)
        coder.number("local-port", &localPort)
        coder.text("local-id", &localID)
        coder.text("remote-host", &remoteHost)
        coder.number("remote-port", &remotePort)
        coder.text("remote-id", &remoteID)
        coder.flag("initiator", &isInitiator)
        coder.hex("initiator-spi", &initiatorSPI, digits: 16)
        coder.hex("responder-spi", &responderSPI, digits: 16)
        coder.flag("nat-local", &natLocal)
        coder.flag("nat-remote", &natRemote)
        var natAny = natLocal || natRemote
        coder.flag("nat-any", &natAny)
        coder.text("encr-alg", &encryption)
        coder.number("encr-keysize", &encryptionKeyBits)
        coder.text("integ-alg", &integrity)
        coder.text("prf-alg", &prf)
        coder.text("dh-group", &keyExchange)
        coder.span("established", milliseconds: &establishedMilliseconds)
        coder.span("rekey-time", milliseconds: &rekeyMilliseconds)
        coder.list("remote-vips", &remoteVirtualAddresses, omitEmpty: true)
        coder.list("tasks-active", &activeTasks, omitEmpty: true)
    }

    private mutating func tandemFields(_ coder: inout some FieldCoder) {
        coder.hex("session-id", &sessionID, digits: 16)
        coder.text("owner", &owner)
        coder.flag("owned", &isOwned)
        coder.number("epoch", &epoch)
        coder.number("next-send-id", &nextSendID)
        coder.number("next-receive-id", &nextReceiveID)
        coder.number("pending-request-id", &pendingRequestID)
        coder.text("rekeyed-spi", &rekeyedSPI)
        coder.list("capabilities", &capabilities)
    }
}

extension SASummary {
    /// The message of a `list-sa` event: one section, named as the connection; only strongSwan's keys, times in seconds.
    public func vici() -> VICIMessage { VICIMessage([.section(name: name, message(isStock: true))]) }

    /// The same with Tandem's keys, times in milliseconds under `…-ms`: what a `tandem-session` event carries.
    public func tandemVICI() -> VICIMessage { VICIMessage([.section(name: name, message(isStock: false))]) }

    /// Reads either form.
    public init(vici message: VICIMessage) throws(VICIError) {
        guard let section = message.sections.first else { throw .missing("IKE SA") }
        try self.init(message: section.message, title: section.name)
    }

    public var json: JSON { jsonObject }
}
