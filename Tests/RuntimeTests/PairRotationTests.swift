import Cryptography
import Glibc
import NIOCore
import NIOPosix
import Node
import Pair
import Session
import Synchronization
import Testing

@testable import Runtime

/// The pair's files, whatever a change was stopped in the middle of.
@Suite struct PairFilesTests {
    private let folder: TemporaryFolder
    private let files: PairFiles
    private let peer: String

    init() throws {
        folder = try pairFolder()
        files = PairFiles(
            certificate: "\(folder.path)/pair/sg1.crt", key: "\(folder.path)/pair/sg1.key", peerCertificate: "\(folder.path)/pair/sg2.crt")
        peer = try #require(readText(files.peerCertificate))
    }

    private func mode(_ path: String) -> UInt32? { FileContents.mode(path) }
    private var left: [String] {
        [files.key, files.certificate, files.peerCertificate].map { $0 + ".next" }.filter { access($0, F_OK) == 0 }
    }

    private func expectUsable(with certificate: String) throws {
        let present = try #require(readText(files.certificate))
        #expect(present == certificate)
        #expect(PairFiles.belongs(try files.readKey(for: present), to: present))
    }

    @Test func adopt_putsBothInPlace_theKeyForRootAlone() throws {
        let before = try #require(readText(files.certificate))
        let staged = try files.stage(name: "sg1", days: 9, peerPEM: peer)
        #expect(mode(files.key + ".next") == 0o600)
        try expectUsable(with: before)
        try files.adopt(staged, insteadOf: before)
        try expectUsable(with: staged.certificatePEM)
        #expect(mode(files.key) == 0o600 && mode(files.certificate) == 0o644 && left == [])
        #expect(staged.certificate.digest == (try certificateFingerprint(pem: staged.certificatePEM)))
        let secret = try pairSecret(ownKeyPEM: files.readKey(for: staged.certificatePEM), peerCertificatePEM: peer)
        #expect(secret == staged.certificate.secret)
    }

    @Test func adopt_stoppedBetweenItsTwoFiles_isFinishedByTheNextStart() throws {
        let staged = try files.stage(name: "sg1", days: 9, peerPEM: peer)
        #expect(rename(files.certificate + ".next", files.certificate) == 0)
        try expectUsable(with: staged.certificatePEM)
        files.tidy()
        #expect(left == [])
        try expectUsable(with: staged.certificatePEM)
        #expect(readText(files.key).map { SecretBytes($0.utf8) } == staged.keyPEM)
    }

    /// A folder where the key's file should be: the second of the two renames fails.
    @Test func adopt_whoseKeyCannotBePutInPlace_changesNothing() throws {
        let before = try #require(readText(files.certificate))
        let key = try #require(readText(files.key))
        let staged = try files.stage(name: "sg1", days: 9, peerPEM: peer)
        unlink(files.key)
        mkdir(files.key, 0o700)
        #expect(throws: PairFiles.Failure.self) { try files.adopt(staged, insteadOf: before) }
        #expect(readText(files.certificate) == before)
        files.tidy()
        rmdir(files.key)
        folder.write("pair/sg1.key", key)
        #expect(left == [])
        try expectUsable(with: before)
    }

    @Test func adopt_whenAnotherStandsThere_changesNothing() throws {
        let before = try #require(readText(files.certificate))
        let first = try files.stage(name: "sg1", days: 9, peerPEM: peer)
        let second = try files.stage(name: "sg1", days: 9, peerPEM: peer)
        #expect(throws: PairFiles.Failure.self) { try files.adopt(first, insteadOf: before) }
        try expectUsable(with: before)
        try files.adopt(second, insteadOf: before)
        try expectUsable(with: second.certificatePEM)
    }

    /// The key of the certificate in use is nowhere but beside its place: the next change must not put its own there.
    @Test func stage_whileTheKeyInUseStandsBesideItsPlace_leavesItThere() throws {
        let staged = try files.stage(name: "sg1", days: 9, peerPEM: peer)
        #expect(rename(files.certificate + ".next", files.certificate) == 0)
        unlink(files.key)
        mkdir(files.key, 0o700)
        #expect(throws: PairFiles.Failure.self) { try files.stage(name: "sg1", days: 9, peerPEM: peer) }
        #expect(readText(files.key + ".next").map { SecretBytes($0.utf8) } == staged.keyPEM)
        rmdir(files.key)
        _ = try files.stage(name: "sg1", days: 9, peerPEM: peer)
        try expectUsable(with: staged.certificatePEM)
        #expect(readText(files.key).map { SecretBytes($0.utf8) } == staged.keyPEM)
    }

    @Test func stage_thatCameToNothing_isThrownAwayByTheNextStart() throws {
        let before = try #require(readText(files.certificate))
        _ = try files.stage(name: "sg1", days: 9, peerPEM: peer)
        files.tidy()
        #expect(left == [])
        try expectUsable(with: before)
    }

    @Test func stage_inAFolderThatCannotBeWritten_isAReason() throws {
        let nowhere = PairFiles(certificate: "/proc/x.crt", key: "/proc/x.key", peerCertificate: "/proc/y.crt")
        #expect(throws: PairFiles.Failure.self) { try nowhere.stage(name: "sg1", days: 9, peerPEM: peer) }
        #expect(throws: PairFiles.Failure.self) { try nowhere.writePeer([peer]) }
    }

    @Test func peersFile_withTheNextCertificateBehind_isLoadedInThatOrder() throws {
        let next = try PairIdentity.generate(name: "sg2", validDays: 9).certificatePEM
        try files.writePeer([peer, next])
        let text = try #require(readText("\(samples)/sg1.toml"))
        let loaded = try Configuration.load(path: folder.write("sg1.toml", text))
        #expect(loaded.pairLink?.peerCertificatePEMs == [peer, next])
        let certificates = try #require(loaded.node.pair?.certificates)
        #expect(certificates.peer.map(\.digest) == [try certificateFingerprint(pem: peer), try certificateFingerprint(pem: next)])
        #expect(certificates.own.secret == certificates.peer[0].secret && certificates.own.secret != certificates.peer[1].secret)
        #expect(loaded.node.pair?.secret == certificates.own.secret)
        try files.writePeer([peer, next, try PairIdentity.generate(name: "sg2", validDays: 9).certificatePEM])
        #expect(throws: ConfigurationError.self) { try Configuration.load(path: "\(folder.path)/sg1.toml") }
    }
}

/// Both ends of a link, and what a change of a certificate does to it.
@Suite struct PairRotationTests {
    @Test func link_whoseCertificateIsChanged_stays_andTheNextOneShowsTheNew() async throws {
        let identities = try Identities(["a", "b", "a"])
        let digests = try identities.certificates.map { try certificateFingerprint(pem: $0) }
        let port = freePort()
        let zero = try await LinkEnd(.zero, identities.settings(own: 0, peer: 1, paths: [path(port, 1)]))
        let one = try await LinkEnd(.one, identities.settings(own: 1, peer: 0, paths: [path(2, port)]))
        #expect(try await bothOpen(zero, one))
        let next = try PinnedTLS(certificatePEM: identities.certificates[2], keyPEM: identities.keys[2])
        _ = try await one.perform { link in try? link.pin([identities.certificates[0], identities.certificates[2]]) }
        try await zero.perform { $0.identify(as: next) }
        #expect(try await bothOpen(zero, one))
        #expect(one.events.withLock { $0 } == [.opened])
        try await zero.perform { $0.close(reason: "test") }
        #expect(try await eventually { one.shown.withLock { $0 } == [digests[0], digests[2]] })
        #expect(try await bothOpen(zero, one))
        // And once the old one is dropped, whoever has it is a stranger.
        _ = try await one.perform { link in try? link.pin([identities.certificates[2]]) }
        let old = try PinnedTLS(certificatePEM: identities.certificates[0], keyPEM: identities.keys[0])
        try await zero.perform { link in
            link.identify(as: old)
            link.close(reason: "test")
        }
        #expect(try await eventually { try await one.counter("wrong_certificate") > 0 })
        #expect(try await one.isOpen == false)
        try await zero.stop()
        try await one.stop()
    }

    /// The link comes up again and again, never faster than once in 50 ms, and says each time why not.
    @Test func peer_ofAnotherVersion_isRefusedWithItsVersion_andNotInALoop() async throws {
        let identities = try Identities(["a", "b"])
        let port = freePort()
        let zero = try await LinkEnd(.zero, identities.settings(own: 0, peer: 1, paths: [path(port, 1)]))
        let one = try await LinkEnd(.one, identities.settings(own: 1, peer: 0, paths: [path(2, port)]))
        let hello = PairHello(version: 1, node: .one, name: "b", boot: 7, role: .starting, epoch: 0)
        var said = 0
        let start = ContinuousClock.now
        while ContinuousClock.now - start < .milliseconds(1500) {
            if try await one.isOpen {
                try await one.perform { link in
                    link.send(.hello(hello))
                    link.flush()
                }
                said += 1
            }
            try await Task.sleep(for: .milliseconds(5))
        }
        let closings = zero.events.withLock { $0 }.compactMap { event in if case .closed(let reason) = event { reason } else { nil } }
        #expect(!closings.isEmpty && closings.allSatisfy { $0.contains("version 1 of the pair protocol, this node version 2") })
        // 50, 100, 200, 400, 800 ms, and what a busy machine adds to them.
        #expect(said > 0 && closings.count <= 6)
        try await zero.stop()
        try await one.stop()
    }
}
