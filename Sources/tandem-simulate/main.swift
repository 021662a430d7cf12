import ArgumentParser
import Simulator

/// Runs seeds of the simulator; one line of JSON each for what failed and what was asked to be repeated, and one at the end.
struct Simulate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tandem-simulate", abstract: "Both gateways, end-users and faults in virtual time; one seed repeats one run.")

    @Option(help: "The first seed.") var first: UInt64 = 0
    @Option(help: "How many seeds.") var seeds: UInt64 = 100
    @Option(help: "Take every so many-th seed only.") var stride: UInt64 = 1
    @Option(help: "Print the digest of every so many-th seed; 0: none.") var digests: UInt64 = 0
    @Option(
        name: .customLong("break"), help: "A deliberate fault: \(Break.allCases.map(\.rawValue).joined(separator: ", ")).",
        transform: { text in
            guard let found = Break(rawValue: text) else { throw ValidationError("there is no fault '\(text)'") }
            return found
        })
    var broken: Break?
    @Option(help: "How much of the trace is printed with a failure, in lines.") var lines = 60
    @Flag(help: "Put each IKE datagram that arrives into the trace.") var datagrams = false
    @Flag(help: "End at the first failure.") var untilFailure = false

    func validate() throws {
        guard lines > 0 else { throw ValidationError("--lines must be 1 or more") }
        guard stride > 0 else { throw ValidationError("--stride must be 1 or more") }
        guard first.addingReportingOverflow(seeds).overflow == false else { throw ValidationError("--first and --seeds are too large") }
    }

    func run() throws {
        var (count, failures, virtual): (UInt64, UInt64, Double) = (0, 0, 0)
        for seed in Swift.stride(from: first, to: first + seeds, by: UInt64.Stride(stride)) {
            // The kinds take turns.
            let kind = Swarm.Kind.allCases[Int(seed % UInt64(Swarm.Kind.allCases.count))]
            let result = Swarm(seed: seed, kind: kind, broken: broken, linesShown: lines, tracesDatagrams: datagrams).run()
            count += 1
            virtual += Double(result.virtualNanoseconds) / 1e9
            if digests > 0, seed % digests == 0 { print("{\"seed\": \(seed), \"digest\": \"\(String(result.digest, radix: 16))\"}") }
            guard let failure = result.failure else { continue }
            failures += 1
            print("{\"seed\": \(seed), \"failure\": \(quoted(failure))}")
            if untilFailure { break }
        }
        print("{\"seeds\": \(count), \"failures\": \(failures), \"virtual_seconds\": \(virtual)}")
        if failures > 0 { throw ExitCode.failure }
    }

    private func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": out += "\\\(scalar)"
            case "\n": out += "\\n"
            default: out += scalar.value < 0x20 ? " " : String(scalar)
            }
        }
        return out + "\""
    }
}

Simulate.main()
