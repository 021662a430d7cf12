import Cryptography
import Pair
import Session

extension FuzzTarget {
    /// A state file as it is found on a disk, and records with anything in them: whatever it is, it is refused or read up to where it is
    /// whole; what was read and written again says the same.
    static let stateFile = FuzzTarget(
        name: "state-file", lengthMax: 16_384,
        seeds: {
            let scene = try Scene.established()
            let head = StateHead(node: .zero, epoch: 3, epochLimit: 35, atWallMilliseconds: 1_700_000_000_000)
            let batches = [
                StateBatch(head: head, departures: [StoredDeparture(spent: [7: 64])]),
                StateBatch(head: head, sessions: Array(scene.table.sessions.values)),
                StateBatch(head: head, ended: [SessionID(rawValue: 4)]),
            ]
            let cipher = StateFileCipher(master: stateKey, random: .seeded(1))
            var file = cipher.header
            for (index, batch) in batches.enumerated() {
                file += try cipher.seal(StateBatchCodec.encode(batch), number: UInt64(index + 1))
            }
            return [[0] + file] + batches.map { [1] + FuzzInput.part(StateBatchCodec.encode($0)) }
        },
        run: { bytes in
            var input = FuzzInput(bytes)
            if input.octet() % 2 == 0 { return try expectReadable(input.all()) }
            let cipher = StateFileCipher(master: stateKey, random: .seeded(2))
            var file = cipher.header
            var number: UInt64 = 1
            while !input.isAtEnd {
                file += try cipher.seal(input.part(), number: number)
                number += 1
            }
            try expectReadable(file)
        })

    private static func expectReadable(_ file: [UInt8]) throws {
        guard let state = read(file) else { return }
        var next = state
        next.beginLife(of: .one, at: 0)
        try require(next.head?.epochLimit ?? 0 >= state.head?.epochLimit ?? 0, "the new life may use epochs again")
        let cipher = StateFileCipher(master: stateKey, random: .seeded(3))
        var again = cipher.header
        for (index, batch) in next.batches().enumerated() {
            again += try cipher.seal(StateBatchCodec.encode(batch), number: UInt64(index + 1))
        }
        try require(read(again) == next, "written again it is another state")
        var table = SessionTable()
        for session in next.sessions.values { _ = try? table.apply(SessionDelta(session: session.id, changes: [.created(session)])) }
    }

    private static func read(_ file: [UInt8]) -> StoredState? {
        guard
            var reader = try? StateFileReader(
                master: stateKey, size: file.count,
                source: { (offset, count) throws(StateFileError) in
                    Array(file[min(offset, file.count)..<min(offset + count, file.count)])
                })
        else { return nil }
        return try? reader.readAll()
    }

    private static let stateKey = SecretBytes([UInt8](repeating: 0x5B, count: 32))
}
