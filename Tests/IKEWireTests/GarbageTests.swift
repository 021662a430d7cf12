import IKEWire
import Testing

@Suite struct GarbageTests {
    private static let messages = [Sample.strongSwanInit, Sample.protected, Sample.fragment, Sample.everything].map { $0.encode() }

    @Test(arguments: messages.indices) func parse_whenCutAnywhere_throws(index: Int) {
        let bytes = GarbageTests.messages[index]
        for count in 0..<bytes.count {
            let cut = Array(bytes.prefix(count))
            #expect(throws: IKEWireError.self, "cut to \(count)") { try IKEMessage(parsing: cut) }
            // With a length that fits, the payloads have to notice: only a message that ends with its header may be whole.
            #expect(throws: IKEWireError.self, "cut to \(count), length made to fit") { try IKEMessage(parsing: fittingLength(cut)) }
        }
    }

    @Test func payload_whenItsBodyIsCutAnywhere_neverReadsPastIt() {
        for (payload, body) in Sample.payloads {
            for count in 0..<body.count {
                // What follows the cut belongs to the next payload: it must come out of the chain untouched.
                let next: [UInt8] = [0xA5, 0x5A]
                let first = [PayloadType.vendorID, 0, 0, UInt8(count + 4)] + body.prefix(count)
                let parsed = try? IKEMessage.parsePayloads(first: payload.type, bytes: first + chain(next))
                if let parsed { #expect(parsed.count == 2 && parsed[1] == .vendorID(next), "\(payload) cut to \(count)") }
            }
        }
    }

    @Test func parse_whenMutated100000Times_neverTrapsAndWhatItAcceptsIsStable() {
        var generator = SeededGenerator(seed: 0x7461_6E64_656D)
        var accepted = 0
        var errors: [String: Int] = [:]
        for _ in 0..<100_000 {
            let bytes = mutated(GarbageTests.messages.randomElement(using: &generator)!, &generator)
            do {
                let message = try IKEMessage(parsing: bytes)
                accepted += 1
                // Saying it again must give a message that says the same; reserved bits may be gone.
                let again = try? IKEMessage(parsing: message.encode())
                if again != message { Issue.record("not stable: \(bytes)") }
            } catch {
                errors[String(String(describing: error).prefix { $0 != "(" }), default: 0] += 1
            }
        }
        // The generator reaches both outcomes, and many rules.
        #expect(accepted > 5_000)
        #expect(errors.count >= 18, "\(errors)")
    }

    @Test func parse_whenRandom_neverTraps() {
        var generator = SeededGenerator(seed: 2)
        var rejected = 0
        for _ in 0..<20_000 {
            let bytes = (0..<Int.random(in: 0...80, using: &generator)).map { _ in UInt8.random(in: 0...255, using: &generator) }
            let first = UInt8.random(in: 33...54, using: &generator)
            if (try? IKEMessage.parsePayloads(first: first, bytes: bytes)) == nil { rejected += 1 }
            if (try? IKEMessage(parsing: fittingLength(bytes))) == nil { rejected += 1 }
        }
        #expect(rejected > 30_000)
    }

    /// One to three changes of octets, bits, counts or length, after which the header's length is made to fit (mostly).
    private func mutated(_ message: [UInt8], _ generator: inout SeededGenerator) -> [UInt8] {
        var out = message
        for _ in 0..<Int.random(in: 1...3, using: &generator) {
            let at = Int.random(in: 16..<out.count, using: &generator)
            switch UInt8.random(in: 0..<6, using: &generator) {
            case 0: out[at] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            case 1: out[at] = UInt8.random(in: 0...255, using: &generator)
            case 2: out[at] = [0, 1, 2, 3, 4, 8, 0x7F, 0x80, 0xFF].randomElement(using: &generator)!
            case 3: out.remove(at: at)
            case 4: out.insert(UInt8.random(in: 0...255, using: &generator), at: at)
            default:
                let count = Int.random(in: 1...min(16, out.count - at), using: &generator)
                let from = Int.random(in: 16...(out.count - count), using: &generator)
                out.replaceSubrange(at..<at + count, with: Array(out[from..<from + count]))
            }
        }
        return UInt8.random(in: 0..<16, using: &generator) == 0 ? out : fittingLength(out)
    }
}
