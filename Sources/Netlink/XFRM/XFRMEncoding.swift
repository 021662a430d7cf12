import CMNL
import Cryptography
import Glibc
import Session

/// Requests as the kernel reads them (linux/xfrm.h).
enum XFRMEncoding {
    static let espProtocol = UInt8(50)

    static func newState(_ state: XFRMState, now: UInt64) -> NetlinkMessage {
        stateMessage(XFRM_MSG_NEWSA, flags: NLM_F_CREATE | NLM_F_EXCL, state, now: now, operation: "add ESP SA \(state.id)")
    }

    /// The kernel takes over the limits and the ports of the encapsulation, and leaves keys, addresses and numbers as they are.
    static func updateState(_ state: XFRMState, now: UInt64) -> NetlinkMessage {
        stateMessage(XFRM_MSG_UPDSA, flags: NLM_F_REPLACE, state, now: now, operation: "update ESP SA \(state.id)")
    }

    private static func stateMessage(
        _ type: Int, flags: Int32, _ state: XFRMState, now: UInt64, operation: String
    ) -> NetlinkMessage {
        NetlinkMessage(type, flags: flags, operation: operation, capacity: 2048) { writer in
            writer.header(xfrm_usersa_info.self) { info in
                set(&info.id.daddr, state.id.destination)
                info.id.spi = state.id.spi.bigEndian
                info.id.proto = espProtocol
                set(&info.saddr, state.source)
                setLimits(&info.lft, state.limits)
                info.reqid = state.requestID
                info.family = family(state.id.destination)
                info.mode = kernelMode(state.mode)
                info.replay_window = state.replay.isLegacy ? UInt8(state.replay.window) : 0
                // A tunnel may carry the other family inside.
                if state.mode == .tunnel { info.flags |= UInt8(XFRM_STATE_AF_UNSPEC) }
                if state.replay.isExtended { info.flags |= UInt8(XFRM_STATE_ESN) }
            }
            putAlgorithms(writer, state)
            if let ports = state.encapsulation { putEncapsulation(writer, ports) }
            putReplay(writer, state.replay)
            writer.attribute(XFRMA_LTIME_VAL.rawValue, xfrm_lifetime_cur.self) {
                $0.packets = state.packets
                $0.add_time = now
            }
            if let thresholds = state.thresholds {
                writer.attribute(XFRMA_REPLAY_THRESH.rawValue, uint32: thresholds.packets)
                writer.attribute(XFRMA_ETIMER_THRESH.rawValue, uint32: thresholds.ticks)
            }
        }
    }

    static func deleteState(_ id: XFRMStateID) -> NetlinkMessage {
        NetlinkMessage(XFRM_MSG_DELSA, operation: "delete ESP SA \(id)") { writer in
            writer.header(xfrm_usersa_id.self) { setID(&$0, id) }
        }
    }

    static func getStates() -> NetlinkMessage {
        NetlinkMessage(XFRM_MSG_GETSA, operation: "list SAs") { writer in
            // The whole structure, as ip does: the kernel reads no filter from it.
            writer.header(xfrm_usersa_id.self) { _ in }
        }
    }

    /// Sets the numbers; with `counters` also the kernel's packet and byte counters, in the same instant.
    static func setReplay(
        _ id: XFRMStateID, source: IPAddress, _ replay: XFRMReplay, counters: (packets: UInt64, bytes: UInt64)?, now: UInt64
    ) -> NetlinkMessage {
        NetlinkMessage(XFRM_MSG_NEWAE, flags: NLM_F_REPLACE, operation: "set numbers of ESP SA \(id)", capacity: 1024) { writer in
            writer.header(xfrm_aevent_id.self) { event in
                setID(&event.sa_id, id)
                set(&event.saddr, source)
            }
            putReplay(writer, replay)
            guard let counters else { return }
            writer.attribute(XFRMA_LTIME_VAL.rawValue, xfrm_lifetime_cur.self) {
                $0.packets = counters.packets
                $0.bytes = counters.bytes
                $0.add_time = now
                $0.use_time = now
            }
        }
    }

    /// Asks for the numbers, and for the thresholds when `thresholds` is set.
    static func getReplay(_ id: XFRMStateID, thresholds: Bool = false) -> NetlinkMessage {
        NetlinkMessage(XFRM_MSG_GETAE, operation: "read numbers of ESP SA \(id)") { writer in
            writer.header(xfrm_aevent_id.self) { event in
                setID(&event.sa_id, id)
                if thresholds { event.flags = UInt32(XFRM_AE_RTHR.rawValue | XFRM_AE_ETHR.rawValue) }
            }
        }
    }

    static func putPolicy(_ policy: XFRMPolicy, replacing: Bool) -> NetlinkMessage {
        NetlinkMessage(
            replacing ? XFRM_MSG_UPDPOLICY : XFRM_MSG_NEWPOLICY, flags: replacing ? NLM_F_REPLACE : NLM_F_CREATE | NLM_F_EXCL,
            operation: "\(replacing ? "set" : "add") policy \(describe(policy.id))"
        ) { writer in
            writer.header(xfrm_userpolicy_info.self) { info in
                setSelector(&info.sel, policy.id)
                setLimits(&info.lft, nil)
                info.priority = policy.priority
                info.dir = policy.id.direction.rawValue
                info.action = UInt8(policy.action == .block ? XFRM_POLICY_BLOCK : XFRM_POLICY_ALLOW)
            }
            if case .protect(let template) = policy.action { putTemplate(writer, template) }
        }
    }

    static func deletePolicy(_ id: XFRMPolicyID) -> NetlinkMessage {
        NetlinkMessage(XFRM_MSG_DELPOLICY, operation: "delete policy \(describe(id))") { writer in
            writer.header(xfrm_userpolicy_id.self) { policy in
                setSelector(&policy.sel, id)
                policy.dir = id.direction.rawValue
            }
        }
    }

    static func getPolicies() -> NetlinkMessage {
        NetlinkMessage(XFRM_MSG_GETPOLICY, operation: "list policies") { writer in writer.header(xfrm_userpolicy_id.self) { _ in } }
    }

    /// From which prefix lengths on, of our side and of the peer's, a policy is found by a hash instead of in a tree.
    static func setHashThresholds(local: UInt8, remote4: UInt8, remote6: UInt8) -> NetlinkMessage {
        NetlinkMessage(XFRM_MSG_NEWSPDINFO, operation: "set policy hash thresholds") { writer in
            writer.header(UInt32.self) { _ in }
            for (attribute, bits) in [(XFRMA_SPD_IPV4_HTHRESH, remote4), (XFRMA_SPD_IPV6_HTHRESH, remote6)] {
                writer.attribute(attribute.rawValue, xfrmu_spdhthresh.self) {
                    $0.lbits = local
                    $0.rbits = bits
                }
            }
        }
    }

    static func describe(_ id: XFRMPolicyID) -> String {
        "\(id.direction) \(id.selector.source) to \(id.selector.destination)"
            + (id.selector.ipProtocol == 0 ? "" : " protocol \(id.selector.ipProtocol)")
    }
}

extension XFRMEncoding {
    static func family(_ address: IPAddress) -> UInt16 { UInt16(address.isIPv4 ? AF_INET : AF_INET6) }

    private static func kernelMode(_ mode: IPsecMode) -> UInt8 {
        switch mode {
        case .tunnel: UInt8(XFRM_MODE_TUNNEL)
        case .transport: UInt8(XFRM_MODE_TRANSPORT)
        }
    }

    private static func set(_ field: inout xfrm_address_t, _ address: IPAddress) {
        withUnsafeMutableBytes(of: &field) { $0.copyBytes(from: address.bytes) }
    }

    private static func setID(_ field: inout xfrm_usersa_id, _ id: XFRMStateID) {
        set(&field.daddr, id.destination)
        field.spi = id.spi.bigEndian
        field.family = family(id.destination)
        field.proto = espProtocol
    }

    private static func setSelector(_ field: inout xfrm_selector, _ id: XFRMPolicyID) {
        set(&field.daddr, id.selector.destination.address)
        set(&field.saddr, id.selector.source.address)
        field.dport = id.selector.destinationPort.value.bigEndian
        field.dport_mask = id.selector.destinationPort.mask.bigEndian
        field.sport = id.selector.sourcePort.value.bigEndian
        field.sport_mask = id.selector.sourcePort.mask.bigEndian
        field.family = family(id.selector.source.address)
        field.prefixlen_d = UInt8(id.selector.destination.length)
        field.prefixlen_s = UInt8(id.selector.source.length)
        field.proto = id.selector.ipProtocol
        field.user = id.tag
    }

    /// No limits in bytes or time: IKE's rekey is what ends an SA.
    private static func setLimits(_ field: inout xfrm_lifetime_cfg, _ limits: XFRMPacketLimits?) {
        field.soft_byte_limit = .max
        field.hard_byte_limit = .max
        field.soft_packet_limit = limits?.soft ?? .max
        field.hard_packet_limit = limits?.hard ?? .max
    }

    private static func putAlgorithms(_ writer: borrowing NetlinkWriter, _ state: XFRMState) {
        // The kernel's key has the salt behind it, as IKE derives it (RFC 3686 §5.1, RFC 4106 §8.1, RFC 7634 §2).
        let key = state.keys.encryption
        let name = kernelName(state.cipher)
        if state.cipher.isAEAD {
            let header = Int(tandem_algo_aead_header_size)
            writer.attribute(XFRMA_ALG_AEAD.rawValue, count: header + key.count) { raw in
                putName(raw, name, keyBits: key.count * 8)
                raw.storeBytes(of: UInt32(state.cipher.icvLength * 8), toByteOffset: 68, as: UInt32.self)
                putKey(raw, at: header, key)
            }
        } else {
            let header = Int(tandem_algo_header_size)
            writer.attribute(XFRMA_ALG_CRYPT.rawValue, count: header + key.count) { raw in
                putName(raw, name, keyBits: key.count * 8)
                putKey(raw, at: header, key)
            }
        }
        guard let integrity = state.integrity else { return }
        let integrityKey = state.keys.integrity
        let header = Int(tandem_algo_auth_header_size)
        writer.attribute(XFRMA_ALG_AUTH_TRUNC.rawValue, count: header + integrityKey.count) { raw in
            putName(raw, kernelName(integrity), keyBits: integrityKey.count * 8)
            raw.storeBytes(of: UInt32(integrity.icvLength * 8), toByteOffset: 68, as: UInt32.self)
            putKey(raw, at: header, integrityKey)
        }
    }

    private static func kernelName(_ cipher: Cipher) -> String {
        switch cipher.kind {
        case .aesCBC: "cbc(aes)"
        case .aesCTR: "rfc3686(ctr(aes))"
        case .aesGCM8, .aesGCM12, .aesGCM16: "rfc4106(gcm(aes))"
        case .chaCha20Poly1305: "rfc7539esp(chacha20,poly1305)"
        }
    }

    private static func kernelName(_ integrity: IntegrityAlgorithm) -> String {
        switch integrity {
        case .hmacSHA1_96: "hmac(sha1)"
        case .hmacSHA256_128: "hmac(sha256)"
        case .hmacSHA384_192: "hmac(sha384)"
        case .hmacSHA512_256: "hmac(sha512)"
        }
    }

    private static func putName(_ raw: UnsafeMutableRawBufferPointer, _ name: String, keyBits: Int) {
        raw.copyBytes(from: name.utf8)
        raw.storeBytes(of: UInt32(keyBits), toByteOffset: 64, as: UInt32.self)
    }

    private static func putKey(_ raw: UnsafeMutableRawBufferPointer, at offset: Int, _ key: SecretBytes) {
        key.withUnsafeBytes { UnsafeMutableRawBufferPointer(rebasing: raw[offset...]).copyBytes(from: $0) }
    }

    private static func putEncapsulation(_ writer: borrowing NetlinkWriter, _ ports: XFRMEncapsulation) {
        writer.attribute(XFRMA_ENCAP.rawValue, xfrm_encap_tmpl.self) {
            $0.encap_type = 2  // UDP_ENCAP_ESPINUDP
            $0.encap_sport = ports.sourcePort.bigEndian
            $0.encap_dport = ports.destinationPort.bigEndian
        }
    }

    private static func putReplay(_ writer: borrowing NetlinkWriter, _ replay: XFRMReplay) {
        if replay.isLegacy {
            writer.attribute(XFRMA_REPLAY_VAL.rawValue, xfrm_replay_state.self) {
                $0.oseq = UInt32(clamping: replay.lastSent)
                $0.seq = UInt32(clamping: replay.top)
                $0.bitmap = replay.bitmapFill
            }
            return
        }
        let words = Int(replay.window + 31) / 32
        let header = Int(tandem_replay_esn_header_size)
        writer.attribute(XFRMA_REPLAY_ESN_VAL.rawValue, count: header + words * 4) { raw in
            let highest: UInt64 = replay.isExtended ? .max : 0xFFFF_FFFF
            let (sent, top) = (min(replay.lastSent, highest), min(replay.top, highest))
            let fields = [
                UInt32(words), UInt32(truncatingIfNeeded: sent), UInt32(truncatingIfNeeded: top), UInt32(sent >> 32), UInt32(top >> 32),
                replay.window,
            ]
            for (index, value) in (fields + Array(repeating: replay.bitmapFill, count: words)).enumerated() {
                raw.storeBytes(of: value, toByteOffset: index * 4, as: UInt32.self)
            }
        }
    }

    private static func putTemplate(_ writer: borrowing NetlinkWriter, _ template: XFRMTemplate) {
        writer.attribute(XFRMA_TMPL.rawValue, xfrm_user_tmpl.self) {
            set(&$0.id.daddr, template.destination)
            $0.id.spi = template.spi.bigEndian
            $0.id.proto = espProtocol
            $0.family = family(template.destination)
            set(&$0.saddr, template.source)
            $0.reqid = template.requestID
            $0.mode = kernelMode(template.mode)
            $0.aalgos = .max
            $0.ealgos = .max
            $0.calgos = .max
        }
    }
}
