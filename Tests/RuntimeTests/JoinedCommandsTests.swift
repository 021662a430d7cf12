import IKE
import Node
import Session
import Testing

@testable import Runtime

@Suite struct JoinedCommandsTests {
    private func advance(_ spi: UInt32) -> DataPlaneCommand { .advanceInbound(inboundSPI: spi, top: 1) }
    private let line = Effect.log(LogLine(.info, "between"))

    @Test func lists_whenTheyFollowEachOther_areOneInTheirOrder() {
        let effects: [Effect] = [line, .dataPlane([.traps([]), advance(1)]), .dataPlane([advance(2)]), .dataPlane([advance(3)]), line]
        #expect(effects.joiningCommands() == [line, .dataPlane([.traps([]), advance(1), advance(2), advance(3)]), line])
    }

    @Test func lists_whenSomethingStandsBetween_stayApart() {
        let effects: [Effect] = [.dataPlane([advance(1)]), line, .dataPlane([advance(2)])]
        #expect(effects.joiningCommands() == effects)
    }

    @Test func gate_whenListsStandAroundIt_staysAlone() {
        let effects: [Effect] = [.dataPlane([advance(1)]), .dataPlane([.gate(.open)]), .dataPlane([advance(2)])]
        #expect(effects.joiningCommands() == effects)
    }

    @Test func lists_whenTheyAreLong_stayApart() {
        let long = Effect.dataPlane((0..<UInt32([Effect].joinedCommandsMax)).map(advance))
        let short = Effect.dataPlane([advance(1_000_000)])
        #expect([long, short, short].joiningCommands() == [long, .dataPlane([advance(1_000_000), advance(1_000_000)])])
    }
}
