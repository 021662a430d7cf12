import Cryptography
import IKE
import Session

extension World {
    /// A gateway elsewhere: an engine with its table.
    final class Site {
        var addresses: Set<IPAddress> = [IPAddress("192.0.2.200")!, IPAddress("192.0.2.201")!]
        /// It does what is due by itself.
        var hasClock = false
        var engine: IKEEngine
        var table = SessionTable()
        /// Answers nothing.
        var isDead = false

        init(_ configuration: IKEConfiguration) {
            engine = IKEEngine(configuration: configuration, node: .zero, cookieSecret: SecretBytes([9]))
        }

        func receive(_ datagram: Datagram, now: Now, random: RandomSource) -> [Datagram] {
            guard !isDead else { return [] }
            let arriving = Datagram(local: datagram.remote, remote: datagram.local, bytes: datagram.bytes)
            return take(engine.receive(arriving, table: table, context: IKEContext(now: now, epoch: 0, random: random)))
        }

        var nextDeadline: Instant? { hasClock ? engine.nextDeadline() : nil }

        func advance(now: Now, random: RandomSource) -> [Datagram] {
            engine.advance(table: table, context: IKEContext(now: now, epoch: 0, random: random)).flatMap(take)
        }

        func take(_ outcome: IKEOutcome) -> [Datagram] {
            for delta in outcome.deltas {
                do { try table.apply(delta) } catch { preconditionFailure("a delta of the site does not fit: \(error)") }
            }
            return outcome.datagrams
        }
    }
}
