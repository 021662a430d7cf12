/// Which of the two gateways of a pair: 0 or 1. It is also the top bit of every SPI that the node assigns,
/// so that contexts never collide when they are installed on the other node.
public enum NodeID: UInt8, Sendable, Hashable {
    case zero = 0
    case one = 1

    public var peer: NodeID { self == .zero ? .one : .zero }
}

/// Counts ownerships. The higher epoch wins everywhere and is looked at before anything else (law 4).
public typealias Epoch = UInt64

/// Who speaks for the sessions, and since which epoch.
public struct Ownership: Hashable, Sendable {
    public var owner: NodeID
    public var epoch: Epoch

    public init(owner: NodeID, epoch: Epoch) {
        self.owner = owner
        self.epoch = epoch
    }
}

/// Which outbound ESP sequence numbers may have been used (law 3).
///
/// The number space of an SA is cut into slices of `size` numbers. A node only ever sends with numbers of slices of its own
/// parity (node 0 even, node 1 odd; the creator of an SA begins with slice 0), and a node that becomes owner goes to the next
/// slice of its parity above every slice that it knows of. So nothing has to be asked of the dead, and two nodes that cannot
/// see each other never use the same number.
public struct Lease: Hashable, Sendable {
    /// The highest slice that the owner may have used.
    public var slice: UInt64

    /// 2^23 numbers: 8 s at a million packets a second, far more than is sent between two reports, while seventy takeovers,
    /// each with the return of the dead (three to seven slices), fit into the 512 slices that an SA without ESN has.
    public static let size: UInt64 = 1 << 23

    /// The last slice that is given out: 64-bit numbers end a little later. The pair link may bring any slice; one past this
    /// exhausts its SA, and does not stop the node.
    public static let sliceMax: UInt64 = UInt64.max / size - 32

    /// The lease of a new SA, whoever created it.
    public static let initial = Lease(slice: 0)

    public init(slice: UInt64) { self.slice = slice }

    /// The slice to which `node` goes when it becomes owner, or when it has used up the one it has.
    public func next(for node: NodeID) -> Lease {
        let above = min(slice, Lease.sliceMax) + 1
        return Lease(slice: above % 2 == UInt64(node.rawValue) ? above : above + 1)
    }

    /// The lease of a gateway that takes over from one of which it had not heard everything: 16 slices further on, so that what
    /// that one may have used alone is left behind (67 million packets of its parity).
    public func nextAfterGap(for node: NodeID) -> Lease { Lease(slice: min(slice, Lease.sliceMax) + 16).next(for: node) }

    /// The numbers of the slice. Without ESN they end where 32 bits end (RFC 4303 §3.3.3: no cycling); an SA that came to the
    /// end of them sends nothing (`next > limit`).
    public func numbers(extended: Bool) -> LeasedNumbers {
        guard slice <= Lease.sliceMax else { return LeasedNumbers(next: .max, limit: 0) }
        let last = (slice + 1) * Lease.size
        return LeasedNumbers(next: slice * Lease.size + 1, limit: extended ? last : min(last, 0xFFFF_FFFF))
    }
}

/// What a data plane is told of a lease: never below `next`, never above `limit`.
public struct LeasedNumbers: Hashable, Sendable {
    public var next: UInt64
    public var limit: UInt64

    public init(next: UInt64, limit: UInt64) {
        self.next = next
        self.limit = limit
    }
}
