import Cryptography
import IKEWire
import Session

/// What we want of a peer, before it is made into a request. Local to one node: whoever takes over finds out anew what is due.
enum Wish: Hashable {
    case liveness
    /// What `Session.movingTo` wants: UPDATE_SA_ADDRESSES or COOKIE2.
    case move
    /// Our further addresses (RFC 4555 §3.6), from where we are now.
    case announceAddresses
    /// REDIRECT, as `Session.redirects` has it (RFC 5685 §5).
    case redirect
    /// A message of RFC 4067 between a mobile node and its gateway.
    case contextTransferMessage([UInt8])
    case deleteIKESA
    case deleteChildSA(UInt32)
    case createChildSA(ChildWish)
    case rekeyIKESA(group: KeyExchangeGroup?)
    /// IPSEC_REPLAY_COUNTER_SYNC alone (RFC 6311 §5.2).
    case syncReplayCounters(UInt64)
}

/// A CHILD SA that we want.
struct ChildWish: Hashable {
    /// The child's name in the configuration.
    var name: String
    /// The inbound SPI of the one that is to be replaced.
    var replacing: UInt32?
    /// The group that the peer asked for; `nil`: ours.
    var group: KeyExchangeGroup?
    /// The peer takes one pair of selectors only (SINGLE_PAIR_REQUIRED).
    var isSinglePair = false
    /// The packet that wants it; its endpoints come first in the selectors (RFC 7296 §2.9).
    var trigger: PacketSelector?
}

/// Whether a wish can become a request.
enum WishState: Hashable {
    case now
    /// When something that is under way is done.
    case later
    /// What it was about is gone, or done.
    case never
}

extension IKEEngine {
    /// Wishes of one session that wait: each CHILD SA and the session itself have a handful.
    static let wishesMax = 256

    /// Requests what is wanted, now or when the window is free.
    mutating func want(_ wish: Wish, in session: Session, table: SessionTable, context: IKEContext) -> IKEOutcome {
        if state(of: wish, in: session) != .never, case .messageIDs = syncStep(of: session, epoch: context.epoch) {
            // Before anything else is asked, both have to agree on the IDs.
            putInLine(wish, session.id)
            return synchronize(session, table: table, context: context)
        }
        switch state(of: wish, in: session) {
        case .now: return request(wish, in: session, table: table, context: context)
        case .never: return .nothing
        case .later:
            putInLine(wish, session.id)
            return .nothing
        }
    }

    mutating func putInLine(_ wish: Wish, _ session: SessionID) {
        let line = waiting[session] ?? []
        if !line.contains(wish), line.count < IKEEngine.wishesMax { waiting[session, default: []].append(wish) }
    }

    /// RFC 7296 §2.25 from the other side: what would only be refused is not asked.
    func state(of wish: Wish, in session: Session) -> WishState {
        let sa = session.ikeSA
        let pending = sa.pendingRequests.map(\.purpose)
        if pending.contains(.deleteIKESA) { return .never }
        // The answer to a synchronization says that the peer lives, and which ID is next (RFC 6311).
        if sa.counterSync.pending != nil { return wish == .liveness ? .never : .later }
        // Another gateway speaks for it.
        if session.isArriving { return .never }
        if session.isHeldStill { return wish == .liveness ? .never : .later }
        if pending.contains(where: { $0.isIKERekey }) {
            if case .rekeyIKESA = wish { return .never }
            return wish == .liveness ? .never : .later
        }
        switch wish {
        case .liveness:
            // Whatever is under way in this IKE SA asks the same question; in one that was replaced a peer may never answer.
            return pending.isEmpty ? .now : .never
        case .deleteIKESA, .announceAddresses, .syncReplayCounters, .contextTransferMessage: break
        case .redirect:
            if session.redirects.order?.stage != .prepared { return .never }
        case .move:
            if session.movingTo == nil || isMoveRequested(session) { return .never }
        case .deleteChildSA(let spi):
            if session.child(inboundSPI: spi) == nil || pending.contains(.deleteChildSA(spi)) { return .never }
        case .createChildSA(let child):
            if let old = child.replacing {
                guard let known = session.child(inboundSPI: old), !known.isRekeyed, !pending.contains(where: { $0.concerns(old) }) else {
                    return .never
                }
            }
        case .rekeyIKESA:
            if !pending.isEmpty { return .later }
        }
        return sa.freeWindow > 0 && sa.nextSendID < .max ? .now : .later
    }

    /// SET_WINDOW_SIZE, when we take more than one request at once (RFC 7296 §2.3).
    var windowSize: Payload? {
        let size = configuration.limits.requestWindow
        return size > 1 ? .notify(.setWindowSize, size.networkBytes) : nil
    }

    mutating func releaseWaiting(_ session: SessionID, at now: Instant) {
        if waiting[session] != nil { deadlines.insert(.waiting(session), at: now) }
    }

    /// Makes the first wish that can be made so.
    mutating func sendWaiting(_ id: SessionID, table: SessionTable, context: IKEContext) -> IKEOutcome {
        guard let session = table[id] else {
            waiting[id] = nil
            return .nothing
        }
        var line = waiting[id] ?? []
        line.removeAll { state(of: $0, in: session) == .never }
        let next = line.firstIndex { state(of: $0, in: session) == .now }
        let wish = next.map { line.remove(at: $0) }
        waiting[id] = line.isEmpty ? nil : line
        guard let wish else { return .nothing }
        if case .messageIDs = syncStep(of: session, epoch: context.epoch) {
            return want(wish, in: session, table: table, context: context)
        }
        // The window may have room for another one.
        releaseWaiting(id, at: context.now.instant)
        return request(wish, in: session, table: table, context: context)
    }
}

extension PendingRequest.Purpose {
    var isIKERekey: Bool { if case .rekeyIKESA = self { true } else { false } }

    var childOffer: ChildOffer? { if case .createChildSA(let offer) = self { offer } else { nil } }

    /// It rekeys or deletes the CHILD SA with this inbound SPI.
    func concerns(_ inboundSPI: UInt32) -> Bool { self == .deleteChildSA(inboundSPI) || childOffer?.replacing == inboundSPI }
}
