import Context
import Control
import IKE
import Session

/// A session of ours that is going to another gateway (RFC 4067 §2.1.1: we are its pAR).
struct Departure {
    enum Stage: Equatable {
        /// An exchange with the client is under way; what comes of it belongs into the context.
        case settling
        /// The context was sent; the session stands still until the other gateway has it.
        case offered
        /// The client was told, and has not answered.
        case moving
        /// The client was told to go as any client is, and has not answered.
        case redirecting
        /// The client is there; the other gateway has our last word, and has not confirmed it.
        case handedOver
    }

    /// The operator who waits; `nil` when the other gateway asked.
    var token: RequestToken?
    var session: SessionID
    var gateway: GatewayConfiguration
    /// Names the transfer to both gateways, and keys its token.
    var transfer: UInt32
    var began: Instant
    var stage = Stage.settling
    /// When this stage is over, or is to be looked at again; `nil`: the IKE engine ends it.
    var deadline: Instant?
    var settlesUntil: Instant
    var contextBytes = 0
    /// When the other gateway had the context in place.
    var installedAt: Instant?
    /// The client asked for it (CTAR), and is told when nothing comes of it.
    var isAskedByClient = false
    /// How the client comes to the other gateway; `nil`: without its context, by itself.
    var move: ContextMove?
    /// What the other gateway has to know to speak; repeated where the client does not find out by itself.
    var lastWord: ContextData?
    /// Why the other gateway did not take it.
    var refusal = TransferStatus.notMoved
}

/// A session of another gateway that is coming here (we are its nAR).
struct Arrival {
    enum Stage: Equatable {
        /// We asked for it (CT-Req).
        case requested
        /// Parts of the context are missing.
        case collecting
        /// It stands here and is silent: the giver speaks for it.
        case held
        /// The giver said nothing in time, or is gone: whoever has heard from the client last is right.
        case inDoubt
    }

    var token: RequestToken?
    var gateway: String
    var began: Instant
    var stage = Stage.collecting
    var deadline: Instant
    var transfer: UInt32?
    var assembler = ContextAssembler()
    var session: SessionID?
    /// What the client sent to us before the giver said that it may.
    var parked: [Datagram] = []
    var contextBytes = 0
    var installedAt: Instant?
}

/// A session of ours as a client that we want to be at another gateway (we are the MN of RFC 4067 §2.1).
struct Activation {
    var token: RequestToken
    var target: IPAddress
    var began: Instant
    var deadline: Instant
}

/// What is under way with other gateways, by the mobile node's address: one transfer for each (RFC 4067 §2.5).
struct TransferWork {
    /// In each direction: each costs a context's memory for seconds at most.
    static let countMax = 256
    /// The same from one gateway, so that none keeps the others out.
    static let perGatewayMax = 64
    /// How long an exchange that is under way may hold a transfer up.
    static let settleTime: Duration = .seconds(5)
    static let settlePause: Duration = .milliseconds(50)
    /// For the context to get there and be put in place; less than the session stands still (`IKEEngine.holdTime`). RFC 4067 §4 has 200 ms
    /// for routers of one access network.
    static let offerTime: Duration = .seconds(5)
    /// For the other gateway to confirm our last word.
    static let confirmTime: Duration = .seconds(3)
    /// How long a copy waits for the giver's word: a client that does not answer is asked again for about so long.
    static let heldTime: Duration = .seconds(60)
    /// How long a copy waits for the client's then.
    static let doubtTime: Duration = .seconds(120)
    /// A client repeats what is not answered.
    static let parkedMax = 4
    /// How long a client waits for its gateway to move it; the gateway needs less to give up.
    static let activationTime: Duration = .seconds(30)
    /// RFC 4067 §4: CT_REQUEST_RATE.
    static let requestsPerSecond = 10

    var departures: [IPAddress: Departure] = [:]
    var arrivals: [IPAddress: Arrival] = [:]
    /// Where we are the mobile node ourselves.
    var activations: [SessionID: Activation] = [:]
    /// Apart, so that a client that asks without end keeps no gateway out.
    var requestsOfGateways = RequestRate()
    var requestsOfClients = RequestRate()

    var isEmpty: Bool { departures.isEmpty && arrivals.isEmpty && activations.isEmpty }

    /// How long our last word is repeated when the link breaks and only it tells who speaks. The copy waits longer.
    static let repeatTime: Duration = .seconds(60)

    var nextDeadline: Instant? {
        isEmpty
            ? nil : (departures.values.compactMap(\.deadline) + arrivals.values.map(\.deadline) + activations.values.map(\.deadline)).min()
    }

    func arrival(of session: SessionID) -> (mobileNode: IPAddress, arrival: Arrival)? {
        arrivals.first { $0.value.session == session }.map { ($0.key, $0.value) }
    }

    func departure(of session: SessionID) -> (mobileNode: IPAddress, departure: Departure)? {
        departures.first { $0.value.session == session }.map { ($0.key, $0.value) }
    }

    func hasRoom(from gateway: String) -> Bool {
        arrivals.count < TransferWork.countMax && arrivals.values.count { $0.gateway == gateway } < TransferWork.perGatewayMax
    }
}

/// How many wishes for a transfer are looked at in a second (RFC 4067 §6.3).
struct RequestRate {
    private var known: (since: Instant, count: Int)?

    /// Whether one more is answered in this second.
    mutating func take(at now: Instant) -> Bool {
        if let known, now - known.since < .seconds(1) {
            guard known.count < TransferWork.requestsPerSecond else { return false }
            self.known = (known.since, known.count + 1)
        } else {
            known = (now, 1)
        }
        return true
    }
}

/// Why a transfer was not begun, or came to nothing.
enum TransferRefusal: Error {
    case because(String, TransferStatus)

    var text: String {
        switch self {
        case .because(let text, _): text
        }
    }
    var status: TransferStatus {
        switch self {
        case .because(_, let status): status
        }
    }
}

extension Session {
    /// The address that names the client to other gateways, the RFC's "previous IP address": the one that we leased to it, which no other
    /// client has, or else the one that it calls from.
    var mobileNode: IPAddress { virtualAddresses.first?.address ?? remote.address }
}

extension TransferStatus {
    /// The reasons of a PUT, beyond the general ones.
    init(_ refusal: AdoptionRefusal) {
        switch refusal {
        case .notActive: self = .notActive
        case .alreadyOwned: self = .alreadyOwned
        case .stale: self = .stale
        case .expired: self = .expired
        case .connectionUnknown, .childUnknown: self = .connectionUnknown
        case .identityRefused: self = .identityRefused
        case .spiInUse: self = .spiInUse
        case .addressInUse: self = .addressInUse
        case .noLocalAddress: self = .noLocalAddress
        case .tableFull: self = .tableFull
        case .givenTooOften: self = .givenTooOften
        case .numbersExhausted: self = .numbersExhausted
        }
    }
}
