import Cryptography
import IKEWire
import Session
import Testing

@testable import IKE

/// Ways between two sites that change.
enum Roads {
    static let caller = Sites.callerAddress
    static let site = Sites.siteAddress
    static let second = IPAddress("192.0.2.77")!
    static let third = IPAddress("192.0.2.78")!
    static let otherSite = IPAddress("198.51.100.8")!
    static let outside = IPAddress("203.0.113.5")!

    static func at(_ address: IPAddress) -> Endpoint { Endpoint(address, 4500) }
}

extension Datagram {
    /// Its exchange is INFORMATIONAL.
    var isInformational: Bool { bytes.count > 28 && bytes[18] == ExchangeType.informational.rawValue }
    var isRequest: Bool { bytes.count > 28 && bytes[19] & 0x20 == 0 }
}

extension Sites {
    /// Sites whose addresses may be any, with MOBIKE.
    static func mobile(
        livenessDelay: Duration? = nil, change: (inout ConnectionConfiguration, inout ConnectionConfiguration) -> Void = { _, _ in }
    ) throws -> Sites {
        var (caller, site) = (IKEConfiguration.caller(), IKEConfiguration.site())
        site.connections[0].remoteAddresses = []
        site.connections[0].localAddresses = []
        caller.connections[0].localAddresses = []
        caller.connections[0].livenessDelay = livenessDelay
        change(&caller.connections[0], &site.connections[0])
        var sites = Sites(caller: caller, site: site)
        try sites.call()
        sites.settle()
        sites.expectAgreement(children: 1)
        return sites
    }

    mutating func moveCaller(to address: IPAddress, remote: IPAddress? = nil) throws {
        let id = try #require(callerSession?.id)
        let port = callerSession?.local.port ?? 4500
        atCaller {
            $0.localAddressChanged(
                session: id, local: Endpoint(address, port), remote: remote.map { Endpoint($0, 4500) }, table: $1, context: $2)
        }
    }

    /// A NAT before everything that leaves `inside`: the site sees `outside`, and what it sends there comes back in.
    mutating func translate(_ inside: IPAddress, to outside: Endpoint, port: UInt16 = 4500) {
        wire = { datagram in
            var datagram = datagram
            if datagram.local.address == inside { datagram.local = outside }
            if datagram.remote == outside { datagram.remote = Endpoint(inside, port) }
            return datagram
        }
    }

    /// A message of either side that its engine knows nothing of, sealed with its keys.
    func forged(
        _ payloads: [Payload], fromCaller: Bool, isResponse: Bool = false, messageID: UInt32, from local: Endpoint, to remote: Endpoint
    ) throws -> Datagram {
        let session = try #require(fromCaller ? callerSession : siteSession)
        let sa = session.ikeSA
        let header = IKEHeader(
            initiatorSPI: sa.spis.initiator, responderSPI: sa.spis.responder, exchangeType: .informational,
            isInitiator: sa.role == .initiator, isResponse: isResponse, messageID: messageID)
        // An epoch of its own, and so IVs of its own.
        let now = Now(instant: now, wallMilliseconds: 0)
        let bytes = try MessageProtection(sa.algorithms, keys: sa.sendingKeys)
            .seal(payloads, header: header, context: IKEContext(now: now, epoch: 1000, random: random))
        return Datagram(local: remote, remote: local, bytes: try #require(bytes.first))
    }

    func opened(_ datagram: Datagram, fromCaller: Bool) throws -> PayloadSet {
        let session = try #require(fromCaller ? callerSession : siteSession)
        let keys = session.ikeSA.sendingKeys
        return PayloadSet(try MessageProtection(session.ikeSA.algorithms, keys: keys).open(datagram.bytes))
    }

    /// What the site or the caller sent last.
    func last(fromCaller: Bool) throws -> Datagram { try #require(sent.last { $0.fromCaller == fromCaller }?.datagram) }
}
