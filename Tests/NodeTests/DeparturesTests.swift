import Session
import Testing

@testable import Node

@Suite struct DeparturesTests {
    static func trap(_ number: Int) -> TrapPolicy {
        TrapPolicy(
            name: ChildName(connection: "road", child: "net\(number)"), mode: .tunnel, local: IPAddress("192.0.2.1")!,
            remote: IPAddress("192.0.2.2")!, localSelectors: [], remoteSelectors: [])
    }

    static func entry(_ spi: UInt64, spent: UInt16, trap number: Int?, at second: UInt64 = 1) -> Departures.Entry {
        Departures.Entry(
            spent: [spi: spent], traps: number.map { [trap($0)] } ?? [], trapsEnd: Instant(nanoseconds: second * 1_000_000_000))
    }

    @Test func spent_ofKeysThatLeftTwice_isTheMost() {
        var departures = Departures()
        #expect(departures.spent(localSPI: 7) == nil)
        #expect(departures.insert(DeparturesTests.entry(7, spent: 128, trap: nil)) == false)
        #expect(departures.insert(DeparturesTests.entry(7, spent: 64, trap: nil)) == false)
        #expect(departures.spent(localSPI: 7) == 128)
    }

    @Test func insert_pastTheMost_forgetsTheOldestAndItsTraps() {
        var departures = Departures()
        #expect(departures.insert(DeparturesTests.entry(1, spent: 64, trap: 1)) == true)
        for spi in 2...UInt64(Departures.countMax) { #expect(departures.insert(DeparturesTests.entry(spi, spent: 64, trap: nil)) == false) }
        #expect(departures.spent(localSPI: 1) == 64)
        #expect(departures.traps == [DeparturesTests.trap(1)])
        #expect(departures.insert(DeparturesTests.entry(1, spent: 32, trap: nil)) == true, "a trap went")
        #expect(departures.spent(localSPI: 1) == 32)
        #expect(departures.traps.isEmpty && departures.nextDeadline == nil)
        #expect(departures.insert(DeparturesTests.entry(9, spent: 128, trap: nil)) == false)
        #expect(departures.spent(localSPI: 2) == nil && departures.spent(localSPI: 9) == 128)
    }

    @Test func traps_ofSessionsThatCameBackOrWaitedLongEnough_go() {
        var departures = Departures()
        for number in 1...4 { _ = departures.insert(DeparturesTests.entry(UInt64(number), spent: 0, trap: number, at: UInt64(number))) }
        #expect(departures.nextDeadline == Instant(nanoseconds: 1_000_000_000))
        #expect(departures.dropTraps(of: [2]) == true)
        #expect(departures.dropTraps(of: [2, 9]) == false)
        #expect(departures.traps == [1, 3, 4].map(DeparturesTests.trap))
        departures.dropTraps(dueAt: Instant(nanoseconds: 3_000_000_000))
        #expect(departures.traps == [DeparturesTests.trap(4)])
        #expect(departures.nextDeadline == Instant(nanoseconds: 4_000_000_000))
        #expect(departures.spent(localSPI: 3) == 0)
    }

    @Test func traps_ofMore_areThoseOfTheLatest() {
        var departures = Departures()
        for number in 0..<Departures.trapsMax + 10 { _ = departures.insert(DeparturesTests.entry(UInt64(number), spent: 0, trap: number)) }
        #expect(departures.traps == (10..<Departures.trapsMax + 10).map(DeparturesTests.trap))
    }
}
