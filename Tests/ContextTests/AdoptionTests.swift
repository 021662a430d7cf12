import Context
import Session
import Testing

@Suite struct AdoptionTests {
    private static let now: Int64 = 1_750_000_000_000
    private static let local = IPAddress("2001:db8::1")!

    private static func adopt(
        _ context: SessionContext, by node: NodeID = .zero, epoch: Epoch = 3, local: IPAddress = local, at now: Int64 = now
    ) throws -> Adoption {
        try context.adopted(by: node, epoch: epoch, local: local, at: now)
    }

    private static func context(_ kind: SessionContext.Kind) -> SessionContext {
        var context = Sample.context
        context.kind = kind
        return context
    }

    /// Law 3: whatever the two pairs count, the taker's IVs are those of epochs that come behind the giver's.
    @Test(arguments: [Epoch(0), 1, 7, 0x7FFF, 0x8000, 1 << 40], [SessionContext.Kind.detached, .snapshot])
    func epochs_ofTheTaker_lieBehindTheGivers(ownEpoch: Epoch, kind: SessionContext.Kind) throws {
        let context = Self.context(kind)
        let given = context.session.ikeSA.epochShift.epochBits(context.epoch)
        let gap: UInt16 = kind == .detached ? 64 : 1024
        let adoption = try Self.adopt(context, epoch: ownEpoch)
        for (before, sa) in zip(context.session.ikeSAs, adoption.session.ikeSAs) {
            let taken = sa.epochShift.epochBits(ownEpoch)
            #expect((taken &- given) & 0x7FFF == gap)
            // Takeovers of the taker go on from there.
            #expect((sa.epochShift.epochBits(ownEpoch + 5) &- taken) & 0x7FFF == 5)
            #expect(sa.epochShift.spent == before.epochShift.spent + gap)
        }
        #expect(adoption.needsSynchronization == (kind == .snapshot))
    }

    @Test func keys_givenFromHandToHand_endBeforeTheirEpochsDo() throws {
        var context = Self.context(.snapshot)
        context.session.children = []
        var last = context.session.ikeSA.epochShift.epochBits(context.epoch)
        var steps = 0
        var walked = 0
        while true {
            guard let adoption = try? Self.adopt(context, epoch: Epoch(steps * 977)) else { break }
            context.session = adoption.session
            context.epoch = Epoch(steps * 977)
            let bits = context.session.ikeSA.epochShift.epochBits(context.epoch)
            walked += Int((bits &- last) & 0x7FFF)
            last = bits
            steps += 1
        }
        #expect(steps == 15 && walked < 1 << 14)
        #expect(throws: AdoptionRefusal.givenTooOften) { try Self.adopt(context) }
    }

    @Test(arguments: [NodeID.zero, .one]) func leases_ofTheTaker_lieBehindTheGivers(node: NodeID) throws {
        let detached = try Self.adopt(Self.context(.detached), by: node)
        let snapshot = try Self.adopt(Self.context(.snapshot), by: node)
        for (index, child) in Sample.context.session.children.enumerated() {
            let (taken, further) = (detached.session.children[index].lease.slice, snapshot.session.children[index].lease.slice)
            #expect(taken >= child.lease.slice + 16 && taken % 2 == UInt64(node.rawValue))
            #expect(further >= taken + 32 && further % 2 == UInt64(node.rawValue))
        }
    }

    @Test func adoption_whenNumbersOrTimeAreOver_isRefused() throws {
        var context = Self.context(.detached)
        context.session.children[1].lease = Lease(slice: 511)
        #expect(throws: AdoptionRefusal.numbersExhausted(inboundSPI: 0x8000_0002)) { try Self.adopt(context) }
        #expect(throws: AdoptionRefusal.expired) { try Self.adopt(Self.context(.detached), at: 1_800_000_000_000) }
        context = Self.context(.detached)
        context.session.reauthenticateAt = Self.now
        #expect(throws: AdoptionRefusal.expired) { try Self.adopt(context) }
        context = Self.context(.detached)
        context.session.children[0].lifetime.endsAt = Self.now
        #expect(try Self.adopt(context).session.children.map(\.inboundSPI) == [0x8000_0002])
    }

    @Test func adoption_elsewhere_movesTheSession() throws {
        var context = Self.context(.detached)
        context.session.movingTo = SessionPath(
            local: Endpoint(Self.local, 4500), remote: Endpoint(Self.local, 500), encapsulation: false, localBehindNAT: false,
            remoteBehindNAT: false)
        let other = IPAddress("2001:db8::99")!
        let adoption = try Self.adopt(context, local: other)
        #expect(adoption.hasMoved && adoption.session.local == Endpoint(other, 4500))
        #expect(adoption.session.movingTo?.local == Endpoint(other, 4500))
        #expect(try !Self.adopt(context).hasMoved)
        #expect(adoption.session.predecessor == nil)
    }
}
