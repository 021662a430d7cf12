public import Cryptography
public import Session

/// A message of the Context Transfer Protocol (RFC 4067 §2.5). A mobile node (MN) is named by its previous address; the access routers
/// (AR) of the RFC are gateways here.
public enum CXTPMessage: Hashable, Sendable {
    /// CTAR, §2.5.1: the mobile node asks for a transfer.
    case activateRequest(ActivateRequest)
    /// CTAA, §2.5.2: the answer to it.
    case activateAcknowledge(ActivateAcknowledge)
    /// CTD and PCTD, §2.5.3: contexts.
    case data(ContextData)
    /// CTDR, §2.5.4: what became of them.
    case dataReply(DataReply)
    /// CTC, §2.5.5: the transfer is over, nothing came of it.
    case cancel(IPAddress)
    /// CT-Req, §2.5.6: a gateway asks for contexts.
    case request(ContextRequest)

    /// The mobile node that it is about.
    public var mobileNode: IPAddress {
        switch self {
        case .activateRequest(let message): message.mobileNode
        case .activateAcknowledge(let message): message.mobileNode
        case .data(let message): message.mobileNode
        case .dataReply(let message): message.mobileNode
        case .cancel(let mobileNode): mobileNode
        case .request(let message): message.mobileNode
        }
    }
}

/// CTAR (RFC 4067 §2.5.1).
public struct ActivateRequest: Hashable, Sendable {
    public var wantsAcknowledgement: Bool
    /// The mobile node's previous IP address.
    public var mobileNode: IPAddress
    /// To the previous gateway: the new one's address. To the new gateway: the previous one's.
    public var otherGateway: IPAddress
    /// The same to both gateways.
    public var sequenceNumber: UInt32
    public var token: UInt32
    /// The types that are wanted; empty: all.
    public var blocks: [ContextDataBlock]

    public init(
        wantsAcknowledgement: Bool, mobileNode: IPAddress, otherGateway: IPAddress, sequenceNumber: UInt32, token: UInt32,
        blocks: [ContextDataBlock] = []
    ) {
        self.wantsAcknowledgement = wantsAcknowledgement
        self.mobileNode = mobileNode
        self.otherGateway = otherGateway
        self.sequenceNumber = sequenceNumber
        self.token = token
        self.blocks = blocks
    }
}

/// CTAA (RFC 4067 §2.5.2).
public struct ActivateAcknowledge: Hashable, Sendable {
    public var mobileNode: IPAddress
    /// What was not transferred.
    public var failures: [ProfileStatus]

    public init(mobileNode: IPAddress, failures: [ProfileStatus] = []) {
        self.mobileNode = mobileNode
        self.failures = failures
    }
}

/// What the new gateway needs to check a CTAR's token: the part of a PCTD that a CTD does not have (RFC 4067 §2.5.3).
public struct TokenKey: Hashable, Sendable {
    /// `TokenAlgorithm`'s number, or one that is not known here.
    public var algorithm: UInt16
    public var key: SecretBytes

    public init(algorithm: UInt16, key: SecretBytes) {
        self.algorithm = algorithm
        self.key = key
    }
}

/// CTD, or PCTD when it has a token key (RFC 4067 §2.5.3).
public struct ContextData: Hashable, Sendable {
    /// A CTDR is wanted.
    public var wantsReply: Bool
    /// Since the first CTD for this mobile node was sent.
    public var elapsedMilliseconds: UInt32
    public var mobileNode: IPAddress
    public var tokenKey: TokenKey?
    public var blocks: [ContextDataBlock]

    public init(
        wantsReply: Bool, elapsedMilliseconds: UInt32, mobileNode: IPAddress, tokenKey: TokenKey? = nil, blocks: [ContextDataBlock]
    ) {
        self.wantsReply = wantsReply
        self.elapsedMilliseconds = elapsedMilliseconds
        self.mobileNode = mobileNode
        self.tokenKey = tokenKey
        self.blocks = blocks
    }
}

/// CTDR (RFC 4067 §2.5.4).
public struct DataReply: Hashable, Sendable {
    /// The S bit: everything was received.
    public var isSuccess: Bool
    public var mobileNode: IPAddress
    public var statuses: [ProfileStatus]

    public init(isSuccess: Bool, mobileNode: IPAddress, statuses: [ProfileStatus] = []) {
        self.isSuccess = isSuccess
        self.mobileNode = mobileNode
        self.statuses = statuses
    }
}

/// CT-Req (RFC 4067 §2.5.6).
public struct ContextRequest: Hashable, Sendable {
    public var mobileNode: IPAddress
    /// That of the CTAR.
    public var sequenceNumber: UInt32
    /// That of the CTAR; 0 when there was none yet.
    public var token: UInt32
    /// Those of the CTAR.
    public var blocks: [ContextDataBlock]

    public init(mobileNode: IPAddress, sequenceNumber: UInt32, token: UInt32, blocks: [ContextDataBlock] = []) {
        self.mobileNode = mobileNode
        self.sequenceNumber = sequenceNumber
        self.token = token
        self.blocks = blocks
    }
}
