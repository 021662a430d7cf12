import Cryptography
import Session

@testable import Context

extension FuzzTarget {
    /// A session's document, as a file or another gateway brings it: with the digest that it has, and with one that fits, so that what is
    /// behind the digest is reached too.
    static let sessionContext = FuzzTarget(
        name: "session-context", lengthMax: 16_384, seeds: { try contextSeeds() },
        run: { bytes in
            try expectStable(bytes)
            if let members = try? SessionContext.compact(bytes) { try expectStable(withDigest(members)) }
            _ = SealedContext.isSealed(bytes)
        })

    private static func expectStable(_ bytes: [UInt8]) throws {
        guard let context = try? SessionContext(parsing: bytes) else { return }
        try require(try SessionContext(parsing: context.encode()) == context, "said again it is another context")
        // Whatever it says, a taker refuses it or goes on beyond it.
        guard let adoption = try? context.adopted(by: .zero, epoch: 3, local: context.session.local.address, at: 0) else { return }
        for child in adoption.session.children {
            let before = context.session.child(inboundSPI: child.inboundSPI)?.lease.slice ?? .max
            try require(child.lease.slice > min(before, Lease.sliceMax), "slice \(child.lease.slice) is not beyond \(before)")
        }
    }

    /// The document in one line, its last member taken for the digest.
    private static func withDigest(_ line: [UInt8]) -> [UInt8] {
        guard let comma = line.lastIndex(of: UInt8(ascii: ",")) else { return line }
        let body = Array(line[..<comma])
        let digest = sha256(body + [UInt8(ascii: "}")])
        return body + Array(", \"sha256\": \"\(hexadecimal(digest))\"}".utf8)
    }

    private static func contextSeeds() throws -> [[UInt8]] {
        let session = try Scene.established().table.sessions.values
        return session.flatMap { session in
            SessionContext.Kind.allCases.map { kind in
                SessionContext(
                    kind: kind, giver: "sg1", giverNode: .zero, epoch: 7, givenAtWallMilliseconds: 1_700_000_000_000, session: session
                ).encode()
            }
        }
    }
}
