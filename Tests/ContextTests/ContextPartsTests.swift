import Context
import Session
import Testing

/// Contexts in blocks and back.
struct ContextPartsTests {
    private func context(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) } }

    /// Over the wire and into an assembler.
    private func carried(_ blocks: [ContextDataBlock]) throws -> [ContextDataBlock] {
        var out: [ContextDataBlock] = []
        for start in stride(from: 0, to: blocks.count, by: ContextDataBlock.perMessage) {
            let some = Array(blocks[start..<min(start + ContextDataBlock.perMessage, blocks.count)])
            let message = CXTPMessage.data(
                ContextData(wantsReply: true, elapsedMilliseconds: 0, mobileNode: IPAddress("2001:db8::1")!, blocks: some))
            guard case .data(let read) = try CXTPMessage(parsing: try message.encode()) else { continue }
            out += read.blocks
        }
        return out
    }

    private func assembled(_ blocks: [ContextDataBlock], _ assembler: inout ContextAssembler) throws -> [UInt8]? {
        var whole: [UInt8]?
        for block in blocks {
            #expect(whole == nil, "whole before its last part")
            whole = try assembler.add(block)
        }
        return whole
    }

    @Test(arguments: [1, 7, 8, 2012, 2013, 4025, 60_000, CXTPLimits.contextBytesMax]) func context_ofAnySize_comesOutAsItWas(count: Int)
        throws
    {
        let whole = context(count)
        let blocks = try carried(try ContextDataBlock.blocks(of: whole, transfer: 9))
        var assembler = ContextAssembler()
        #expect(try assembled(blocks, &assembler) == whole)
        #expect(try assembled(blocks.reversed(), &assembler) == whole)
    }

    @Test func context_tooLongOrEmpty_isNotCut() {
        #expect(throws: CXTPError.contextTooLong(CXTPLimits.contextBytesMax + 1)) {
            try ContextDataBlock.blocks(of: context(CXTPLimits.contextBytesMax + 1), transfer: 1)
        }
        #expect(throws: CXTPError.contextTooLong(0)) { try ContextDataBlock.blocks(of: [], transfer: 1) }
    }

    @Test func anyBit_thatChangedOnTheWay_neverGivesAContext() throws {
        let blocks = try carried(try ContextDataBlock.blocks(of: context(2100), transfer: 9))
        let meaningful = 24 + 2100 - 2012
        for bit in 0..<meaningful * 8 {
            var changed = blocks
            changed[1].data[bit / 8] ^= 1 << UInt8(bit % 8)
            var assembler = ContextAssembler()
            // Bits 112 to 127 are the two octets that say nothing.
            let isIgnored = (112..<128).contains(bit)
            let whole = try? assembled(changed, &assembler)
            #expect((whole ?? nil) == (isIgnored ? context(2100) : nil), "bit \(bit)")
        }
    }

    @Test func part_thatCameTwice_countsOnce_andAnotherInItsPlaceIsRefused() throws {
        let blocks = try ContextDataBlock.blocks(of: context(5000), transfer: 9)
        var assembler = ContextAssembler()
        #expect(try assembler.add(blocks[0]) == nil)
        #expect(try assembler.add(blocks[0]) == nil)
        var other = blocks[0]
        other.data[40] ^= 1
        #expect(throws: CXTPError.inconsistentParts) { try assembler.add(other) }
        #expect(try assembler.add(blocks[2]) == nil)
        #expect(try assembler.add(blocks[1]) == context(5000))
    }

    @Test func transfer_thatBeginsAnew_forgetsTheOld() throws {
        var assembler = ContextAssembler()
        #expect(try assembler.add(try ContextDataBlock.blocks(of: context(5000), transfer: 9)[0]) == nil)
        #expect(assembler.transfer == 9)
        #expect(try assembled(try ContextDataBlock.blocks(of: context(3000), transfer: 10), &assembler) == context(3000))
    }

    @Test func counters_comeBackAndAreBounded() throws {
        let counters = ContextCounters(
            transfer: 9, nextSendID: 3, nextReceiveID: 4, inbound: [.init(spi: 0x8000_0001, top: 1 << 40), .init(spi: 2, top: 0)])
        #expect(try ContextCounters(try carried([counters.block])[0]) == counters)
        var short = counters.block
        short.data.removeLast(8)
        #expect(throws: CXTPError.truncated) { try ContextCounters(short) }
        #expect(throws: CXTPError.unexpectedProfile(.ipsecContext)) { try ContextCounters(ContextDataBlock(.ipsecContext)) }
    }
}
