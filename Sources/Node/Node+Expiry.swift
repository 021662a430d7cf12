import Control
import Pair
import Session

/// When the pair's certificates end. They are pinned, and go on counting after their end: a pair must not come apart at midnight, and what a
/// date would protect from, a key that was stolen long ago, is protected from by changing it. So the end is told of, loudly, and every day.
extension Node {
    mutating func lookAtCertificates(now: Now) {
        guard let known = certificates.certificates, let pair = configuration.pair else { return }
        certificates.nextLook = now.instant + .milliseconds(CertificateWork.dayMilliseconds)
        warn(ofEndOf: known.own, holder: configuration.name, remedy: "tandem pair rotate", now: now)
        warn(ofEndOf: known.peer[0], holder: pair.peerName, remedy: "tandem pair rotate, on \(pair.peerName)", now: now)
    }

    private mutating func warn(ofEndOf certificate: PairCertificate, holder: String, remedy: String, now: Now) {
        let left = certificate.notAfterMilliseconds - now.wallMilliseconds
        guard left < CertificateWork.warningTime else { return }
        let days = left / CertificateWork.dayMilliseconds
        let text =
            left < 0
            ? "the certificate of \(holder) has expired; the pair goes on, because it is pinned"
            : "the certificate of \(holder) expires in \(days) day\(days == 1 ? "" : "s")"
        counters.certificateWarnings += 1
        log(left < 0 ? .error : .warning, text, [.init("remedy", remedy)])
        note(.certificate, "\(text): \(remedy)", now: now)
    }

    func fillCertificates(of status: inout StatusSummary, now: Now) {
        guard let known = certificates.certificates, let pair = configuration.pair else { return }
        func summary(_ certificate: PairCertificate, _ holder: String, isInUse: Bool = true) -> CertificateSummary {
            CertificateSummary(
                node: holder, sha256: certificate.sha256Text, notAfterMilliseconds: certificate.notAfterMilliseconds,
                daysLeft: (certificate.notAfterMilliseconds - now.wallMilliseconds) / CertificateWork.dayMilliseconds, isInUse: isInUse)
        }
        let peer = known.peer.enumerated().map { summary($0.element, pair.peerName, isInUse: $0.offset == 0) }
        status.certificates = [summary(known.own, configuration.name)] + peer
        status.counters["certificate_days_left"] = UInt64(max(0, status.certificates[0].daysLeft))
        status.counters["peer_certificate_days_left"] = UInt64(max(0, peer[0].daysLeft))
    }
}
