import IKEWire
public import Session

extension GatewayIdentity {
    private static let ipv4: UInt8 = 1
    private static let ipv6: UInt8 = 2
    private static let fqdn: UInt8 = 3

    /// Type, length, identity, and in an IKE_SA_INIT response the nonce; `nil` for what is none of it.
    static func parse(_ data: [UInt8]) -> (gateway: GatewayIdentity, nonce: [UInt8])? {
        guard data.count >= 2, data.count >= 2 + Int(data[1]) else { return nil }
        let identity = Array(data[2..<(2 + Int(data[1]))])
        let nonce = Array(data.dropFirst(2 + identity.count))
        switch data[0] {
        case ipv4 where identity.count == 4, ipv6 where identity.count == 16:
            guard let address = IPAddress(bytes: identity), !address.isUnspecified else { return nil }
            return (.address(address), nonce)
        case fqdn where !identity.isEmpty && identity.allSatisfy({ (0x21...0x7E).contains($0) }):
            return (.name(String(decoding: identity, as: UTF8.self)), nonce)
        default: return nil
        }
    }

    /// What a notify holds of it, without a nonce.
    static func encode(_ address: IPAddress) -> [UInt8] {
        [address.isIPv4 ? ipv4 : ipv6, UInt8(address.bytes.count)] + address.bytes
    }

    /// REDIRECT's data, in an IKE_SA_INIT response with the initiator's nonce.
    func notifyData(nonce: [UInt8] = []) -> [UInt8] {
        switch self {
        case .address(let address): return GatewayIdentity.encode(address) + nonce
        case .name(let name):
            let octets = Array(name.utf8.prefix(GatewayIdentity.nameLengthMax))
            return [GatewayIdentity.fqdn, UInt8(octets.count)] + octets + nonce
        }
    }
}

/// Why a REDIRECT is not followed.
public enum RedirectRefusal: String, Error, Hashable, Sendable {
    case notFollowed = "the connection follows none"
    case tooMany = "there were too many in a short time"
    case name = "names are not resolved"
    case busy = "the session is on its way elsewhere"
    case badSynchronization = "what the other gateway would go on with is not where the session is"
    case exhausted = "the sequence numbers that are left are too few"
    case badAddress = "that is no address of another gateway"
    case noLocalAddress = "we have no address of that family"
}

/// The redirects of each connection in the last minutes. Local to one node: a new owner counts anew.
struct RedirectLedger {
    /// RFC 5685 §7: five within five minutes are a loop.
    static let countMax = 5
    static let period: Duration = .seconds(300)

    private struct Entry {
        var times: [Instant] = []
        /// Where calls of the connection go, and until when.
        var target: (address: IPAddress, until: Instant)?
    }

    /// By the connection's name: no more than are configured.
    private var entries: [String: Entry] = [:]

    /// Counts a redirect.
    ///
    /// - Returns: false when it is one too many; it is not counted then.
    mutating func count(_ connection: String, at now: Instant) -> Bool {
        var entry = entries[connection] ?? Entry()
        entry.times.removeAll { $0 + RedirectLedger.period <= now }
        guard entry.times.count < RedirectLedger.countMax else { return false }
        entry.times.append(now)
        entries[connection] = entry
        return true
    }

    /// Calls go there until the connection is up; a gateway that is dead does not keep them for longer than a loop is looked for.
    mutating func direct(_ connection: String, to address: IPAddress, at now: Instant) {
        entries[connection, default: Entry()].target = (address, now + RedirectLedger.period)
    }

    mutating func isUp(_ connection: String) { entries[connection]?.target = nil }

    /// Nobody answered there, or not the one who should.
    mutating func abandon(_ connection: String, target: IPAddress) {
        if entries[connection]?.target?.address == target { entries[connection]?.target = nil }
    }

    func target(_ connection: String, at now: Instant) -> IPAddress? {
        entries[connection]?.target.flatMap { $0.until > now ? $0.address : nil }
    }
}

extension IKEEngine {
    /// Where calls of this connection go instead of to its `remote_addrs`, since a gateway said so.
    public func redirectedAddress(connection: String, at now: Instant) -> IPAddress? { redirects.target(connection, at: now) }

    /// Whether a redirect is followed, and to which address.
    mutating func follow(
        _ gateway: GatewayIdentity, for connection: ConnectionConfiguration, from: IPAddress, context: IKEContext
    ) throws(RedirectRefusal) -> IPAddress {
        guard connection.followsRedirects else { throw .notFollowed }
        guard case .address(let address) = gateway else { throw .name }
        // To where we are, to ourselves, or to nobody: nothing would come of it.
        guard address.isGatewayAddress, address != from, !ownAddresses.contains(address),
            !connection.localAddresses.hosts.contains(address)
        else { throw .badAddress }
        guard localAddress(for: address, connection: connection) != nil else { throw .noLocalAddress }
        guard redirects.count(connection.name, at: context.now.instant) else { throw .tooMany }
        return address
    }

    /// From where a peer is called: `local_addrs`, or else an address of the group.
    public func localAddress(for remote: IPAddress, connection: ConnectionConfiguration) -> IPAddress? {
        let own = connection.localAddresses.isEmpty ? ownAddresses : connection.localAddresses.hosts
        return own.first { $0.family == remote.family }
    }

    // MARK: In an established session (RFC 5685 §5)

    /// REDIRECT and AUTH_LIFETIME of the peer that we called: the session will have a successor. That is written down, so that
    /// whoever owns the session then makes it.
    mutating func noteSuccession(_ request: PayloadSet, message: ReceivedMessage, answer: inout RequestAnswer, context: IKEContext) {
        let session = message.session
        guard session.originalRole == .initiator, message.isInCurrentSA, answer.endsSession == nil, !answer.endsIKESA else { return }
        if let seconds = request.authenticationLifetime {
            // The sooner of the peer's time and ours; and never so soon that no successor can be made.
            let peers = context.now.wallMilliseconds + max(Int64(seconds), Session.reauthenticationSecondsMin) * 1000
            let own = connection(of: session)?.reauthenticationTime
                .map { session.establishedWallMilliseconds + $0.inNanoseconds / 1_000_000 }
            answer.changes.append(.reauthenticationSet(at: min(peers, own ?? peers)))
        }
        guard let notify = request.notify(.redirect), let connection = connection(of: session) else { return }
        guard let gateway = GatewayIdentity.parse(notify.data)?.gateway else { return }
        // Whoever did not agree on it takes the private notify for one that it does not know.
        if session.capabilities.contains(.contextTransfer), request.has(.noReauthIPsecContextTransmitted) {
            return goOnElsewhere(
                gateway, request: request, message: message, connection: connection, answer: &answer, context: context)
        }
        do throws(RedirectRefusal) {
            let address = try follow(gateway, for: connection, from: session.remote.address, context: context)
            answer.changes.append(.redirected(to: address))
            answer.events.append(.redirected(connection: connection.name, from: session.remote.address, to: gateway))
        } catch {
            answer.events.append(
                .redirectIgnored(connection: connection.name, from: session.remote.address, to: gateway, reason: error))
        }
    }
}

extension [IPPrefix] {
    /// Those that are single hosts: whom one can call, or be.
    public var hosts: [IPAddress] { filter { $0.length == $0.address.bitWidth && !$0.address.isUnspecified }.map(\.address) }
}

extension PayloadSet {
    /// AUTH_LIFETIME, in seconds (RFC 4478 §3).
    var authenticationLifetime: UInt32? { notify(.authLifetime).flatMap { UInt32(networkBytes: $0.data) } }
}
