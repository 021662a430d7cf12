public import Cryptography
public import Session

/// What names an SA in the kernel: destination and SPI; the protocol is always ESP.
public struct XFRMStateID: Hashable, Sendable, CustomStringConvertible {
    public var destination: IPAddress
    public var spi: UInt32

    public init(destination: IPAddress, spi: UInt32) {
        self.destination = destination
        self.spi = spi
    }

    public var description: String {
        let hex = String(spi, radix: 16)
        return "\(String(repeating: "0", count: 8 - hex.count))\(hex) to \(destination)"
    }
}

/// ESP in UDP (RFC 3948): the ports of the packets of one direction, in that direction.
public struct XFRMEncapsulation: Hashable, Sendable {
    public var sourcePort: UInt16
    public var destinationPort: UInt16

    public init(sourcePort: UInt16, destinationPort: UInt16) {
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
    }
}

/// The sequence numbers of an SA (RFC 4303 §2.2, §3.4.3), of which an SA uses those of its own direction.
public struct XFRMReplay: Hashable, Sendable {
    /// Numbers in a replay window. 32 and fewer without ESN is the kernel's old format, all else its new one.
    public var window: UInt32
    /// 64-bit numbers.
    public var isExtended: Bool
    /// The number that was last sent; the kernel's `oseq`.
    public var lastSent: UInt64
    /// The highest number accepted.
    public var top: UInt64

    /// The kernel's XFRMA_REPLAY_ESN_MAX.
    public static let windowMax: UInt32 = 4096

    public init(window: UInt32, isExtended: Bool, lastSent: UInt64 = 0, top: UInt64 = 0) {
        self.window = min(max(window, 1), XFRMReplay.windowMax)
        self.isExtended = isExtended
        self.lastSent = lastSent
        self.top = top
    }

    /// The kernel's old format, XFRMA_REPLAY_VAL.
    var isLegacy: Bool { !isExtended && window <= 32 }

    /// Everything at or below `top` counts as seen, since it is not known what was: a packet is lost rather than taken twice.
    var bitmapFill: UInt32 { top == 0 ? 0 : .max }
}

/// After how many packets an SA stops by itself, counted as the kernel counts `packets`.
public struct XFRMPacketLimits: Hashable, Sendable {
    /// An expiry event, and nothing else.
    public var soft: UInt64
    /// The last packet that passes; the next one is dropped, the SA is deleted, and an expiry event says so.
    public var hard: UInt64

    public init(soft: UInt64, hard: UInt64) {
        self.soft = soft
        self.hard = hard
    }
}

/// When an SA reports its numbers to the listeners of XFRMNLGRP_AEVENTS.
public struct XFRMReportThresholds: Hashable, Sendable {
    /// At the latest after so many packets.
    public var packets: UInt32
    /// At the latest so long after a packet that was not reported, in the kernel's own ticks (`ESPSupport.ticksPerSecond`).
    public var ticks: UInt32

    public init(packets: UInt32, ticks: UInt32) {
        self.packets = packets
        self.ticks = ticks
    }
}

/// One ESP SA of the kernel.
public struct XFRMState: Hashable, Sendable {
    public var id: XFRMStateID
    public var source: IPAddress
    /// What a policy's template asks for; never 0 here.
    public var requestID: UInt32
    public var mode: IPsecMode
    public var cipher: Cipher
    /// `nil` with an AEAD cipher.
    public var integrity: IntegrityAlgorithm?
    public var keys: DirectionKeys
    public var encapsulation: XFRMEncapsulation?
    public var replay: XFRMReplay
    /// What the kernel's packet counter starts from.
    public var packets: UInt64
    public var limits: XFRMPacketLimits?
    public var thresholds: XFRMReportThresholds?

    public init(
        id: XFRMStateID, source: IPAddress, requestID: UInt32, mode: IPsecMode = .tunnel, cipher: Cipher, integrity: IntegrityAlgorithm?,
        keys: DirectionKeys, encapsulation: XFRMEncapsulation? = nil, replay: XFRMReplay, packets: UInt64 = 0,
        limits: XFRMPacketLimits? = nil, thresholds: XFRMReportThresholds? = nil
    ) {
        self.id = id
        self.source = source
        self.requestID = requestID
        self.mode = mode
        self.cipher = cipher
        self.integrity = integrity
        self.keys = keys
        self.encapsulation = encapsulation
        self.replay = replay
        self.packets = packets
        self.limits = limits
        self.thresholds = thresholds
    }
}

/// What the kernel says of an SA's use.
public struct XFRMCounters: Hashable, Sendable {
    public var id: XFRMStateID
    public var source: IPAddress
    public var requestID: UInt32
    /// The number that was last sent; extended numbers are whole.
    public var lastSent: UInt64
    /// The highest number accepted.
    public var top: UInt64
    public var packets: UInt64
    /// Octets with the inner header and without ESP's own.
    public var bytes: UInt64
}
