import DequeModule
import Pair
import Session

/// How much a node that has handed over still passes on, and for how long.
struct PassingOn {
    /// Past the moment in which the new owner's announcement is heard, and what lay in sockets by then was read.
    static let time: Duration = .milliseconds(200)

    var until: Instant?
    var left = 0

    mutating func begin(at now: Instant) { self = PassingOn(until: now + PassingOn.time, left: Node.parkedMax) }

    mutating func take(at now: Instant) -> Bool {
        guard let until, now < until, left > 0 else { return false }
        left -= 1
        return true
    }
}

/// Requests that came while a node handed over, and those that lay in its sockets when it had: they are the new owner's to answer, and
/// no peer has to repeat them for that.
extension Node {
    /// In the place of what waited for the hand-over.
    mutating func passOnParked(cause: StepDownCause, now: Now) {
        defer { parked = [] }
        guard cause == .switchover, canPassOn else {
            counters.datagramsParkedDropped += UInt64(parked.count)
            return
        }
        passingOn.begin(at: now.instant)
        passOn(parked.filter(isOfUseThere))
    }

    /// We are not the owner.
    mutating func passOn(_ datagram: Datagram, now: Now) {
        guard canPassOn, isOfUseThere(datagram), passingOn.take(at: now.instant) else {
            counters.datagramsNotOwner += 1
            return
        }
        passOn([datagram])
    }

    mutating func passedOnReceived(_ datagrams: [Datagram], now: Now) {
        for datagram in datagrams where isOwner { received(datagram, now: now) }
    }

    private mutating func passOn(_ datagrams: [Datagram]) {
        guard !datagrams.isEmpty else { return }
        counters.datagramsPassedOn += UInt64(datagrams.count)
        effects.append(.frame(.passedOn(datagrams)))
    }

    private var canPassOn: Bool { link.isUp && !link.isClosing && link.peer?.takesHandshakes == true }

    /// What was sent to an address that only we have is not answered from another.
    private func isOfUseThere(_ datagram: Datagram) -> Bool { !configuration.nodeAddresses.own.contains(datagram.local.address) }
}
