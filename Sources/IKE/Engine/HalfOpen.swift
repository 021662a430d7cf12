import Cryptography
import IKEWire
import Session

extension HalfOpenSA {
    var receiving: MessageProtection { MessageProtection(algorithms, keys: derived.keys.initiator) }
    var sending: MessageProtection { MessageProtection(algorithms, keys: derived.keys.responder) }
    /// The session that it may become.
    var session: SessionID { SessionID(rawValue: spis.responder) }
}

/// The half-open IKE SAs by our SPI and by the request that made them, with their common timeout.
struct HalfOpenTable {
    private var bySPI: [UInt64: HalfOpenSA] = [:]
    private var byRequest: [[UInt8]: UInt64] = [:]
    private var countByOrigin: [IPAddress: Int] = [:]
    /// Those that the standby was told of.
    private var replicated: Set<UInt64> = []
    private var expiries = ExpiryQueue()
    /// Key exchanges that came to nothing, each for as long as a half-open IKE SA lives.
    private var failures = ExpiryQueue()

    var count: Int { bySPI.count }
    /// What counts for the cookie threshold: a request with a public value that is none costs as much as a good one.
    var pressure: Int { bySPI.count + failures.count }
    var nextDeadline: Instant? { bySPI.isEmpty ? nil : expiries.next }
    subscript(spi: UInt64) -> HalfOpenSA? { bySPI[spi] }

    /// The half-open IKE SA that an IKE_SA_INIT with this digest from `remote` made.
    func repeated(digest: [UInt8], remote: Endpoint) -> HalfOpenSA? {
        guard let half = byRequest[digest].flatMap({ bySPI[$0] }), half.remote == remote else { return nil }
        return half
    }

    /// Half-open IKE SAs of peers at this address.
    func count(from address: IPAddress) -> Int { countByOrigin[HalfOpenTable.origin(address)] ?? 0 }

    /// An IPv6 host may use any address of its /64.
    private static func origin(_ address: IPAddress) -> IPAddress { address.isIPv4 ? address : address.masked(to: 64) }

    /// Notes a failed key exchange; at most `limit` are remembered.
    mutating func noteFailure(limit: Int, now: Instant, expiresAt deadline: Instant) {
        forgetFailures(at: now)
        if failures.count < limit { failures.append(0, at: deadline) }
    }

    mutating func forgetFailures(at now: Instant) { while failures.popDue(at: now) != nil {} }

    /// Whether the standby was told of this one.
    func isReplicated(_ spi: UInt64) -> Bool { replicated.contains(spi) }

    /// In order of SPI, so that a run can be repeated.
    var all: [HalfOpenSA] { bySPI.values.sorted { $0.spis.responder < $1.spis.responder } }

    mutating func insert(_ half: HalfOpenSA, isReplicated: Bool, expiresAt deadline: Instant) {
        remove(half.spis.responder)
        if isReplicated { replicated.insert(half.spis.responder) }
        countByOrigin[HalfOpenTable.origin(half.remote.address), default: 0] += 1
        bySPI[half.spis.responder] = half
        byRequest[half.requestDigest] = half.spis.responder
        expiries.append(half.spis.responder, at: deadline)
    }

    mutating func remove(_ spi: UInt64) {
        guard let half = bySPI.removeValue(forKey: spi) else { return }
        replicated.remove(spi)
        if byRequest[half.requestDigest] == spi { byRequest[half.requestDigest] = nil }
        let origin = HalfOpenTable.origin(half.remote.address)
        let left = (countByOrigin[origin] ?? 0) - 1
        countByOrigin[origin] = left > 0 ? left : nil
    }

    mutating func unshare(_ spi: UInt64) { replicated.remove(spi) }

    /// Of these, and of no others, a new standby is told.
    mutating func setReplicated(_ spis: [UInt64]) { replicated = Set(spis) }

    /// Only what the other node knows stays.
    mutating func keepReplicated() {
        for spi in Array(bySPI.keys) where !replicated.contains(spi) { remove(spi) }
        failures = ExpiryQueue()
    }

    /// What has expired, at most `limit` of it.
    mutating func expire(at now: Instant, limit: Int) -> [HalfOpenSA] {
        var out: [HalfOpenSA] = []
        while out.count < limit, let spi = expiries.popDue(at: now) {
            guard let half = bySPI[spi] else { continue }
            remove(spi)
            out.append(half)
        }
        return out
    }
}

/// The last answers of IKE SAs that are over.
struct Farewells {
    /// 4,096 take some 1 MiB; a peer whose answer is forgotten gives up by its own timeout.
    static let countMax = 4096
    /// Past strongSwan's third retransmission (4.0 + 7.2 + 13 s).
    static let lifetime: Duration = .seconds(30)

    private var bySPI: [UInt64: Farewell] = [:]
    private var expiries = ExpiryQueue()

    subscript(localSPI: UInt64) -> Farewell? { bySPI[localSPI] }

    mutating func insert(_ farewell: Farewell, at now: Instant) {
        while let spi = expiries.popDue(at: now) { bySPI[spi] = nil }
        guard bySPI.count < Farewells.countMax else { return }
        bySPI[farewell.localSPI] = farewell
        expiries.append(farewell.localSPI, at: now + Farewells.lifetime)
    }

    /// The answer to this request, if it was the last one.
    func farewell(localSPI: UInt64, request: [UInt8]) -> Farewell? {
        guard let farewell = bySPI[localSPI], farewell.requestDigest == sha256(request) else { return nil }
        return farewell
    }

    func knows(_ localSPI: UInt64) -> Bool { bySPI[localSPI] != nil }
}

/// How many errors may still be told in clear in this second.
struct RefusalBudget {
    private static let window: Duration = .seconds(1)

    private var windowEnd = Instant(nanoseconds: 0)
    private var count = 0

    /// Whether one more may be told.
    mutating func take(_ limits: IKELimits, at now: Instant) -> Bool {
        if windowEnd <= now {
            windowEnd = now + RefusalBudget.window
            count = 0
        }
        count += 1
        return count <= limits.clearErrorsPerSecond
    }
}

/// SPIs in the order in which they expire: all have the same lifetime, so that the first in is the first out.
struct ExpiryQueue {
    private var entries: [(deadline: Instant, spi: UInt64)] = []
    private var head = 0

    var count: Int { entries.count - head }
    var next: Instant? { head < entries.count ? entries[head].deadline : nil }

    mutating func append(_ spi: UInt64, at deadline: Instant) { entries.append((deadline, spi)) }

    mutating func popDue(at now: Instant) -> UInt64? {
        guard head < entries.count, entries[head].deadline <= now else { return nil }
        let spi = entries[head].spi
        head += 1
        // What is behind us is given back once it is the larger half.
        if head > 64, head * 2 > entries.count {
            entries.removeFirst(head)
            head = 0
        }
        return spi
    }
}
