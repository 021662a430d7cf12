import CMNL
import Cryptography
import Session

/// Whether this kernel can do ESP, found by trying.
public struct ESPSupport: Hashable, Sendable {
    public var isSupported: Bool
    /// For an operator: what was tried, and what the kernel said.
    public var reason: String
    /// The kernel's HZ, in which it takes XFRMA_ETIMER_THRESH; `nil` without ESP.
    public var ticksPerSecond: UInt32?
}

extension XFRM {
    /// Adds an SA to a documentation address (RFC 5737), reads it back and deletes it.
    public static func supportsESP() -> ESPSupport {
        do throws(NetlinkError) {
            let socket = try NetlinkSocket(.xfrm)
            let state = probe
            _ = try socket.request(XFRMEncoding.newState(state, now: 0))
            // The kernel stores the timer in ticks and shows it in tenths of a second: by that it tells its HZ.
            let read = try? socket.request(XFRMEncoding.getReplay(state.id, thresholds: true)).first
            _ = try socket.request(XFRMEncoding.deleteState(state.id))
            let tenths = read.flatMap(XFRMDecoding.timerThreshold) ?? 0
            let ticks = tenths == 0 ? nil : (probeTicks * 10 + tenths / 2) / tenths
            return ESPSupport(isSupported: true, reason: "the kernel took an ESP SA with AES-GCM", ticksPerSecond: ticks)
        } catch {
            return ESPSupport(isSupported: false, reason: "the kernel has no ESP with AES-GCM: \(error)", ticksPerSecond: nil)
        }
    }

    private static let probeTicks: UInt32 = 100_000

    private static var probe: XFRMState {
        XFRMState(
            id: XFRMStateID(destination: IPAddress(v4: 0xC000_0201), spi: 0x7000_0000 | UInt32.random(in: 1...0xFF_FFFF)),
            source: IPAddress(v4: 0xC000_0202), requestID: 1, cipher: Cipher(.aesGCM16, keyBits: 128), integrity: nil,
            keys: DirectionKeys(encryption: RandomSource.system.secretBytes(20), integrity: .empty),
            replay: XFRMReplay(window: 64, isExtended: true), thresholds: XFRMReportThresholds(packets: 1, ticks: probeTicks))
    }
}

extension RandomSource {
    fileprivate func secretBytes(_ count: Int) -> SecretBytes { SecretBytes(bytes(count)) }
}
