import Control
import Session
import Testing

@testable import Node
@testable import Simulator

extension Three {
    fileprivate func take(_ spi: UInt32, at address: IPAddress) -> UInt64? { planes[address]?.take(spi) }
}

/// What comes for a client that left with its context still finds the way, for a moment.
@Suite struct LingeringTests {
    /// A session that was just moved.
    private static func moved() throws -> (three: Three, inboundSPI: UInt32) {
        let three = try TransferTests.connected()
        let spi = try #require(three.session(Three.old)?.children.first?.inboundSPI)
        _ = three.transfer()
        three.run(for: 100)
        try #require(three.session(Three.old) == nil && three.session(Three.new)?.isArriving == false)
        return (three, spi)
    }

    @Test func packetsBehindTheGiver_afterATransfer_areSentOnForAMoment() throws {
        let (three, spi) = try Self.moved()
        let (first, taker) = (three.take(spi, at: Three.old), three.take(spi, at: Three.new))
        let number = try #require(first)
        #expect(number < (try #require(taker)), "the taker's numbers lie above")
        three.run(for: 800)
        let second = three.take(spi, at: Three.old)
        #expect(second == number + 1)
        three.run(for: 200)
        #expect(three.planes[Three.old]?.sas.isEmpty == true)
    }

    /// The client's packets that were captured on their way to the giver.
    @Test func packetsToTheGiver_afterATransfer_areRefused() throws {
        let (three, spi) = try Self.moved()
        #expect(three.planes[Three.old]?.sas[spi]?.top == 0xFFFF_FFFF)
    }

    @Test func session_comingBackAtOnce_isNotRemovedByWhatLingered() throws {
        let (three, _) = try Self.moved()
        let token = three.request(
            Three.new, .transfer(TransferRequest(name: "client.example.net", direction: .to, gateway: "old")))
        three.run(for: 100)
        #expect(three.summary(token)?.outcome == .done && three.session(Three.old) != nil)
        three.run(for: 2_000)
        three.checkGoesOn(at: Three.old)
    }

    private static func entry(until: Instant) -> Lingering.Entry {
        Lingering.Entry(until: until, mobileNode: Three.client, inboundSPIs: [], removals: [], hooks: [])
    }

    @Test func crowd_thatLingers_isBounded() throws {
        let (three, _) = try Self.moved()
        var lingering = Lingering()
        for number in 0..<Lingering.countMax {
            #expect(lingering.append(Self.entry(until: three.time.instant + .seconds(number))) == nil)
        }
        #expect(lingering.append(Self.entry(until: three.time.instant + .seconds(1_000)))?.until == three.time.instant)
        #expect(lingering.entries.count == Lingering.countMax && lingering.nextDeadline == three.time.instant + .seconds(1))
    }
}
