import Control
import Cryptography
import Pair
import Session

/// A node's certificate changes while the pair goes on: offered to the other node over the link that stands, written down there, put in
/// place here, used in the heartbeats, and so confirmed there. From the first to the last of these steps the other node takes the old one
/// and the new one, so that the two find together wherever either of them dies.
extension Node {
    mutating func rotateCertificate(days: Int, token: RequestToken, now: Now) {
        if let reason = reasonAgainstRotation {
            return respond(token, .rotation(RotationSummary(outcome: .refused, reason: reason)))
        }
        certificates.rotation = .preparing(
            RotationOrder(token: token, began: now.instant, deadline: now.instant + RotationOrder.patience))
        effects.append(.certificate(.prepare(days: days)))
    }

    private var reasonAgainstRotation: String? {
        guard configuration.pair != nil, let certificates = certificates.certificates else { return "this node has no pair" }
        guard case .none = self.certificates.rotation else { return "its certificate is being changed already" }
        guard link.isUp, !link.isClosing, let peer = link.peer else { return "there is no link to the other node" }
        guard peer.takesCertificates else { return "the other node's version takes no certificates over the link: bring it up to date" }
        guard certificates.peer.count == 1, case .nothing = self.certificates.trusting else {
            return "the other node is changing its certificate, or gave up: run this there first"
        }
        return nil
    }

    mutating func certificateHappened(_ event: CertificateEvent, now: Now) {
        switch event {
        case .prepared(let certificate, let pem): offer(certificate, pem, now: now)
        case .adopted: adopted(now: now)
        case .failed(let reason): rotationFailed(reason, now: now)
        case .trusted(let certificate, let pem): trusted(certificate, pem, now: now)
        case .distrusted(let certificate, let reason):
            certificates.trusting = .nothing
            sendFrame(.certificateAnswer(digest: sha256(certificate), refusal: reason))
        case .shown(let digest): peerUses(digest, now: now)
        }
    }

    /// Certificate frames are answers to what may have been said on an earlier link: who gave up in between passes them over.
    private mutating func sendFrame(_ frame: PairFrame) {
        guard link.isUp, !link.isClosing, link.peer?.takesCertificates == true else { return }
        effects.append(.frame(frame))
    }

    // MARK: - The node whose certificate changes

    private mutating func offer(_ certificate: PairCertificate, _ pem: [UInt8], now: Now) {
        guard case .preparing(var order) = certificates.rotation else { return effects.append(.certificate(.abandon)) }
        // There was one when this began.
        guard link.isUp, !link.isClosing, link.peer?.takesCertificates == true else {
            return rotationFailed("the link to the other node closed", now: now)
        }
        order.deadline = now.instant + RotationOrder.patience
        certificates.rotation = .offered(order, certificate, offer: sha256(pem))
        sendFrame(.certificateOffer(pem))
    }

    mutating func certificateAnswered(digest: [UInt8], refusal: String?, now: Now) {
        guard case .offered(let order, let certificate, let offer) = certificates.rotation, digest == offer else { return }
        if let refusal { return rotationFailed("the other node does not take it: \(refusal)", now: now) }
        certificates.rotation = .adopting(order, certificate)
        effects.append(.certificate(.adopt))
    }

    private mutating func adopted(now: Now) {
        guard case .adopting(var order, let certificate) = certificates.rotation, let peer = certificates.certificates?.peer.first else {
            return
        }
        order.deadline = now.instant + RotationOrder.patience
        certificates.certificates?.own = certificate
        certificates.rotation = .adopted(order)
        let name = certificates.name(peer: peer.digest)
        heartbeats.accept(name, secret: certificate.secret)
        heartbeats.prefer(name)
        note(.certificate, "this node's certificate was changed", now: now)
        log(.notice, "this node's certificate was changed", [.init("sha256", certificate.sha256Text)])
        // The other node knows by them, and need not wait for the next.
        sendHeartbeats(wantsAnswer: false, on: nil, now: now)
        lookAtCertificates(now: now)
    }

    /// The other node was heard with the key of our new certificate: it takes no other any more, and neither do we.
    private mutating func rotationConfirmed(_ name: HeartbeatKeys.Name, now: Now) {
        guard case .adopted(let order) = certificates.rotation, name.own == certificates.certificates?.own.digest else { return }
        heartbeats.keepOnly(name)
        certificates.rotation = .none
        log(.notice, "the other node takes this node's new certificate alone")
        respond(order, reason: "", now: now)
    }

    private mutating func rotationFailed(_ reason: String, now: Now) {
        let order: RotationOrder
        switch certificates.rotation {
        case .none, .adopted: return
        case .preparing(let given), .offered(let given, _, _), .adopting(let given, _): order = given
        }
        certificates.rotation = .none
        effects.append(.certificate(.abandon))
        log(.error, "this node's certificate stays as it is", [.init("reason", reason)])
        note(.certificate, "this node's certificate stays as it is: \(reason)", now: now)
        guard let token = order.token else { return }
        respond(token, .rotation(RotationSummary(outcome: .failed, reason: reason)))
    }

    private mutating func respond(_ order: RotationOrder, reason: String, now: Now) {
        guard let token = order.token, let own = certificates.certificates?.own else { return }
        var summary = RotationSummary(outcome: .done, reason: reason)
        summary.certificateSHA256 = own.sha256Text
        summary.notAfterMilliseconds = own.notAfterMilliseconds
        summary.totalMicroseconds = (now.instant - order.began).inNanoseconds / 1000
        summary.gateways = configuration.gateways.map(\.name)
        respond(token, .rotation(summary))
    }

    /// What was offered on a link that is gone will not be answered.
    mutating func rotationLostLink(now: Now) {
        if case .offered = certificates.trusting { certificates.trusting = .withdrawn }
        switch certificates.rotation {
        case .offered: rotationFailed("the link to the other node closed", now: now)
        case .none, .preparing, .adopting, .adopted: break
        }
    }

    mutating func workOnCertificates(now: Now) {
        if let deadline = certificates.deadline, now.instant >= deadline { rotationOverdue(now: now) }
        if let due = certificates.nextLook, now.instant >= due { lookAtCertificates(now: now) }
    }

    private mutating func rotationOverdue(now: Now) {
        guard case .adopted(var order) = certificates.rotation else {
            return rotationFailed("nothing came of it within \(RotationOrder.patience)", now: now)
        }
        respond(order, reason: "in use here; the other node, which takes both, has not been heard since", now: now)
        order.token = nil
        certificates.rotation = .adopted(order)
    }

    // MARK: - The other node

    mutating func certificateOffered(_ pem: [UInt8]) {
        if case .none = certificates.rotation, certificates.certificates != nil, case .nothing = certificates.trusting {
            certificates.trusting = .offered
            effects.append(.certificate(.trust(certificate: pem)))
        } else {
            sendFrame(.certificateAnswer(digest: sha256(pem), refusal: "it is changing its own, or looks at another"))
        }
    }

    /// Whoever offers uses the one that is first here: an earlier offer came to nothing, or it would have been seen in use.
    private mutating func trusted(_ certificate: PairCertificate, _ pem: [UInt8], now: Now) {
        let isWithdrawn = if case .withdrawn = certificates.trusting { true } else { false }
        certificates.trusting = .nothing
        guard let present = certificates.certificates?.peer.first else { return }
        if isWithdrawn { return takeAlone(present) }
        if certificate.digest != present.digest {
            certificates.certificates?.peer = [present, certificate]
            heartbeats.keepOnly(certificates.name(peer: present.digest))
            heartbeats.accept(certificates.name(peer: certificate.digest), secret: certificate.secret)
            log(.notice, "the other node's next certificate is taken too", [.init("sha256", certificate.sha256Text)])
        }
        sendFrame(.certificateAnswer(digest: sha256(pem), refusal: nil))
    }

    /// The other node was seen to use this certificate, on the link or in a heartbeat: it has it for good.
    private mutating func peerUses(_ digest: [UInt8], now: Now) {
        guard let known = certificates.certificates, known.peer.count > 1, let used = known.peer.first(where: { $0.digest == digest })
        else {
            return
        }
        // On a link the old one proves nothing: it may have been opened before the change.
        guard digest != known.peer[0].digest else { return }
        takeAlone(used)
        log(.notice, "the other node uses its new certificate", [.init("sha256", used.sha256Text)])
        note(.certificate, "the other node's certificate was changed", now: now)
        lookAtCertificates(now: now)
    }

    /// The other node says, at the beginning of a link, that it uses this one and has nothing else on offer: a change that its death or the
    /// end of the former link cut short came to nothing, and does not stand in the way of ours.
    mutating func peerKeeps(_ digest: [UInt8], now: Now) {
        guard let known = certificates.certificates, known.peer.count > 1, let present = known.peer.first, present.digest == digest else {
            return peerUses(digest, now: now)
        }
        takeAlone(present)
        log(.notice, "the other node keeps its certificate", [.init("sha256", present.sha256Text)])
    }

    private mutating func takeAlone(_ certificate: PairCertificate) {
        certificates.certificates?.peer = [certificate]
        heartbeats.keepOnly(certificates.name(peer: certificate.digest))
        effects.append(.certificate(.confirm(digest: certificate.digest)))
    }

    /// A heartbeat was opened with this key.
    mutating func keyWasUsed(_ name: HeartbeatKeys.Name, now: Now) {
        guard heartbeats.names.count > 1 else { return }
        peerUses(name.peer, now: now)
        rotationConfirmed(name, now: now)
    }
}
