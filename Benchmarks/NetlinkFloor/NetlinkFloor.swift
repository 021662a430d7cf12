import ArgumentParser
import Cryptography
import Glibc
import Netlink
import Session

/// The bare netlink calls of one CHILD SA, the least that a PUT with XFRM has to do: its two SAs and three policies in one batch, as the
/// kernel data plane sends them, among as many that stand. In a network namespace of its own. Whoever asks does so with a line on standard input,
/// as an operator asks a daemon for a PUT: a loop that has waited for nobody finds the processor's caches as it has left them.
@main
struct NetlinkFloor: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "netlink-floor", abstract: "Time the bare netlink calls for the SAs and policies of one CHILD SA.",
        discussion:
            "Prints a line when it is ready. For each line that it reads it installs one, prints how many milliseconds that took, and removes it."
    )

    @Option(help: "CHILD SAs that stand while others are measured.") var standing = 0

    func validate() throws {
        guard (0...1 << 20).contains(standing) else { throw ValidationError("a number is out of range") }
    }

    func run() throws {
        let xfrm = try XFRM()
        guard try xfrm.states().isEmpty, try xfrm.policies().isEmpty else {
            throw ValidationError("there are SAs or policies here: run it in a network namespace of its own")
        }
        try xfrm.hashPoliciesByPeerHost()
        for number in 0..<UInt32(standing) { try Installation(number: number + 1).install(with: xfrm) }
        NetlinkFloor.say("ready")
        var number = UInt32(standing)
        while readLine() != nil {
            number += 1
            let installation = try Installation(number: number)
            let began = NetlinkFloor.monotonicNanoseconds()
            try installation.install(with: xfrm)
            let ended = NetlinkFloor.monotonicNanoseconds()
            NetlinkFloor.say("\(Double(ended - began) / 1_000_000)")
            try installation.remove(with: xfrm)
        }
    }

    /// At once: somebody waits for it.
    private static func say(_ line: String) {
        var line = line + "\n"
        line.withUTF8 { _ = write(STDOUT_FILENO, $0.baseAddress, $0.count) }
    }

    private static func monotonicNanoseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}

/// What one CHILD SA is in the kernel: AES-128-GCM between two gateways, for one host of the peer's side.
struct Installation {
    private let states: [XFRMState]
    private let policies: [XFRMPolicy]

    init(number: UInt32) throws {
        let (local, remote) = (IPAddress(v4: 0xC000_020A), IPAddress(v4: 0xC000_0264))
        let keys = DirectionKeys(encryption: SecretBytes(Array(repeating: 7, count: 20)), integrity: .empty)
        func state(_ spi: UInt32, from source: IPAddress, to destination: IPAddress, window: UInt32, limits: XFRMPacketLimits?) -> XFRMState
        {
            XFRMState(
                id: XFRMStateID(destination: destination, spi: spi), source: source, requestID: number,
                cipher: Cipher(.aesGCM16, keyBits: 128), integrity: nil, keys: keys, replay: XFRMReplay(window: window, isExtended: false),
                limits: limits, thresholds: XFRMReportThresholds(packets: 1 << 16, ticks: 10))
        }
        let (inbound, outbound) = (0x1000_0000 + number, 0x2000_0000 + number)
        states = [
            state(inbound, from: remote, to: local, window: 1024, limits: nil),
            state(outbound, from: local, to: remote, window: 32, limits: XFRMPacketLimits(soft: 1 << 20, hard: 1 << 21)),
        ]
        let selectors = try XFRMSelector.selectors(
            source: [TrafficSelector(IPPrefix("10.10.0.0/16")!)], destination: [TrafficSelector(host: IPAddress(v4: 0x0A80_0000 + number))])
        policies = selectors.flatMap { selector in
            [XFRMDirection.out, .in, .forward].map { direction in
                let template =
                    direction == .out
                    ? XFRMTemplate(source: local, destination: remote, requestID: number, spi: outbound)
                    : XFRMTemplate(source: remote, destination: local, requestID: number)
                let id = XFRMPolicyID(
                    selector: direction == .out ? selector : selector.reversed, direction: direction, tag: 0x7A6E_0002)
                return XFRMPolicy(id: id, priority: 20_000, action: .protect(template))
            }
        }
    }

    func install(with xfrm: XFRM) throws { try perform(states.map { .addState($0) } + policies.map { .setPolicy($0) }, xfrm) }
    func remove(with xfrm: XFRM) throws { try perform(policies.map { .deletePolicy($0.id) } + states.map { .deleteState($0.id) }, xfrm) }

    private func perform(_ requests: [XFRM.Request], _ xfrm: XFRM) throws {
        for case .failed(let error) in try xfrm.perform(requests) { throw error }
    }
}
