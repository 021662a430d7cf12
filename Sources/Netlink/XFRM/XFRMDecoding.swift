import CMNL
import Glibc
import Session

/// What the kernel says of SAs and policies, read without trust in its lengths.
enum XFRMDecoding {
    /// XFRM_MSG_NEWAE: the answer to GETAE, and the event.
    static func counters(event reply: NetlinkReply) -> (counters: XFRMCounters, causedByUs: Bool)? {
        guard reply.type == UInt16(XFRM_MSG_NEWAE), let header = reply.header(xfrm_aevent_id.self),
            header.sa_id.proto == XFRMEncoding.espProtocol, let id = stateID(header.sa_id),
            let source = address(header.saddr, family: header.sa_id.family)
        else { return nil }
        let attributes = reply.attributes(after: MemoryLayout<xfrm_aevent_id>.size)
        guard let (sent, top) = numbers(attributes) else { return nil }
        let used = attributes.value(XFRMA_LTIME_VAL.rawValue, as: xfrm_lifetime_cur.self) ?? xfrm_lifetime_cur()
        return (
            XFRMCounters(
                id: id, source: source, requestID: header.reqid, lastSent: sent, top: top, packets: used.packets, bytes: used.bytes),
            header.flags & UInt32(XFRM_AE_CU.rawValue) != 0
        )
    }

    /// XFRM_MSG_NEWSA: one SA of a dump. `nil` for anything but ESP.
    static func counters(state reply: NetlinkReply) -> XFRMCounters? {
        guard reply.type == UInt16(XFRM_MSG_NEWSA), let info = reply.header(xfrm_usersa_info.self) else { return nil }
        let sent = numbers(reply.attributes(after: MemoryLayout<xfrm_usersa_info>.size))
        return counters(info, numbers: sent ?? (0, 0))
    }

    /// XFRM_MSG_EXPIRE. The numbers are not in it: an outbound SA's packet counter stands for them.
    static func expiry(_ reply: NetlinkReply) -> (counters: XFRMCounters, isHard: Bool)? {
        guard reply.type == UInt16(XFRM_MSG_EXPIRE), let expire = reply.header(xfrm_user_expire.self),
            let counters = counters(expire.state, numbers: (0, 0))
        else { return nil }
        return (counters, expire.hard != 0)
    }

    private static func counters(_ info: xfrm_usersa_info, numbers: (sent: UInt64, top: UInt64)) -> XFRMCounters? {
        guard info.id.proto == XFRMEncoding.espProtocol, let destination = address(info.id.daddr, family: info.family),
            let source = address(info.saddr, family: info.family)
        else { return nil }
        return XFRMCounters(
            id: XFRMStateID(destination: destination, spi: UInt32(bigEndian: info.id.spi)), source: source, requestID: info.reqid,
            lastSent: numbers.sent, top: numbers.top, packets: info.curlft.packets, bytes: info.curlft.bytes)
    }

    /// XFRM_MSG_MAPPING: a valid packet of an encapsulated SA came from another address or port (RFC 3948 §4).
    static func mapping(_ reply: NetlinkReply) -> (id: XFRMStateID, remote: Endpoint)? {
        guard reply.type == UInt16(XFRM_MSG_MAPPING), let mapping = reply.header(xfrm_user_mapping.self),
            let id = stateID(mapping.id), let remote = address(mapping.new_saddr, family: mapping.id.family)
        else { return nil }
        return (id, Endpoint(remote, UInt16(bigEndian: mapping.new_sport)))
    }

    /// XFRM_MSG_ACQUIRE: a packet for which there is a policy and no SA.
    static func acquire(_ reply: NetlinkReply) -> XFRMAcquire? {
        guard reply.type == UInt16(XFRM_MSG_ACQUIRE), let header = reply.header(xfrm_user_acquire.self),
            let template = reply.attributes(after: MemoryLayout<xfrm_user_acquire>.size)
                .value(XFRMA_TMPL.rawValue, as: xfrm_user_tmpl.self),
            let source = address(header.sel.saddr, family: header.sel.family),
            let destination = address(header.sel.daddr, family: header.sel.family)
        else { return nil }
        let ports = ports(header.sel)
        func selector(_ address: IPAddress, _ ports: ClosedRange<UInt16>) -> TrafficSelector {
            TrafficSelector(
                ipProtocol: header.sel.proto, startPort: ports.lowerBound, endPort: ports.upperBound, start: address, end: address)
        }
        return XFRMAcquire(
            requestID: template.reqid, source: selector(source, ports.source), destination: selector(destination, ports.destination))
    }

    /// Of a packet, as traffic selectors have them: ICMP's type and code are one number (RFC 7296 §3.13.1).
    private static func ports(_ selector: xfrm_selector) -> (source: ClosedRange<UInt16>, destination: ClosedRange<UInt16>) {
        let (source, destination) = (UInt16(bigEndian: selector.sport), UInt16(bigEndian: selector.dport))
        switch selector.proto {
        case 6, 17, 33, 132, 136: return (source...source, destination...destination)
        case 1, 58:
            let both = (source & 0xFF) << 8 | destination & 0xFF
            return (both...both, both...both)
        default: return (0...UInt16.max, 0...UInt16.max)
        }
    }

    /// The thresholds in an answer to GETAE. The kernel takes the timer in ticks and gives it in tenths of a second.
    static func timerThreshold(_ reply: NetlinkReply) -> UInt32? {
        reply.attributes(after: MemoryLayout<xfrm_aevent_id>.size).value(XFRMA_ETIMER_THRESH.rawValue, as: UInt32.self)
    }

    /// XFRM_MSG_NEWPOLICY: one policy of a dump. `nil` for socket policies and what has no counterpart here.
    static func policy(_ reply: NetlinkReply) -> XFRMPolicy? {
        guard reply.type == UInt16(XFRM_MSG_NEWPOLICY), let info = reply.header(xfrm_userpolicy_info.self),
            let direction = XFRMDirection(rawValue: info.dir), let selector = selector(info.sel)
        else { return nil }
        let id = XFRMPolicyID(selector: selector, direction: direction, tag: info.sel.user)
        let template = reply.attributes(after: MemoryLayout<xfrm_userpolicy_info>.size)
            .value(XFRMA_TMPL.rawValue, as: xfrm_user_tmpl.self).flatMap(template)
        let action: XFRMAction = info.action == UInt8(XFRM_POLICY_BLOCK) ? .block : template.map { .protect($0) } ?? .allow
        return XFRMPolicy(id: id, priority: info.priority, action: action)
    }

    private static func template(_ template: xfrm_user_tmpl) -> XFRMTemplate? {
        guard template.id.proto == XFRMEncoding.espProtocol, let mode = mode(template.mode),
            let source = address(template.saddr, family: template.family),
            let destination = address(template.id.daddr, family: template.family)
        else { return nil }
        return XFRMTemplate(
            source: source, destination: destination, requestID: template.reqid, spi: UInt32(bigEndian: template.id.spi), mode: mode)
    }

    private static func mode(_ value: UInt8) -> IPsecMode? {
        switch Int32(value) {
        case XFRM_MODE_TUNNEL: .tunnel
        case XFRM_MODE_TRANSPORT: .transport
        default: nil
        }
    }

    private static func selector(_ selector: xfrm_selector) -> XFRMSelector? {
        guard let source = address(selector.saddr, family: selector.family),
            let destination = address(selector.daddr, family: selector.family),
            let sourcePrefix = IPPrefix(source, Int(selector.prefixlen_s)),
            let destinationPrefix = IPPrefix(destination, Int(selector.prefixlen_d))
        else { return nil }
        return XFRMSelector(
            source: sourcePrefix, destination: destinationPrefix, ipProtocol: selector.proto,
            sourcePort: MaskedPort(value: UInt16(bigEndian: selector.sport), mask: UInt16(bigEndian: selector.sport_mask)),
            destinationPort: MaskedPort(value: UInt16(bigEndian: selector.dport), mask: UInt16(bigEndian: selector.dport_mask)))
    }

    private static func numbers(_ attributes: NetlinkAttributes) -> (sent: UInt64, top: UInt64)? {
        if let extended = attributes.value(XFRMA_REPLAY_ESN_VAL.rawValue, as: xfrm_replay_state_esn.self) {
            return (UInt64(extended.oseq_hi) << 32 | UInt64(extended.oseq), UInt64(extended.seq_hi) << 32 | UInt64(extended.seq))
        }
        return attributes.value(XFRMA_REPLAY_VAL.rawValue, as: xfrm_replay_state.self).map { (UInt64($0.oseq), UInt64($0.seq)) }
    }

    private static func stateID(_ id: xfrm_usersa_id) -> XFRMStateID? {
        address(id.daddr, family: id.family).map { XFRMStateID(destination: $0, spi: UInt32(bigEndian: id.spi)) }
    }

    private static func address(_ field: xfrm_address_t, family: UInt16) -> IPAddress? {
        withUnsafeBytes(of: field) { raw in
            switch Int32(family) {
            case AF_INET: IPAddress(bytes: raw.prefix(4))
            case AF_INET6: IPAddress(bytes: raw.prefix(16))
            default: nil
            }
        }
    }
}
