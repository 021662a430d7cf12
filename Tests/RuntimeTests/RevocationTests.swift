import CertificateSamples
import Cryptography
import Glibc
import NIOCore
import NIOPosix
import Session
import Synchronization
import Testing

@testable import Runtime

/// Revocation lists that change while the gateway runs.
@Suite struct RevocationTests {
    private static let root = SampleCertificate.authority()
    private static let now = SampleCertificate.validFrom + 86400

    // Signed once: no two signatures of ECDSA are the same.
    private static let nine = root.revocationList(revoking: [9])
    private static let seven = root.revocationList(revoking: [7])

    private static func pem(_ list: RevocationList) -> String { SampleCertificate.pem(list.der, label: "X509 CRL") }

    private static func files(_ path: String) throws -> RevocationFiles {
        var files = RevocationFiles()
        let lists = try RevocationList.read(try #require(readText(path)).utf8.map { $0 })
        files.append(RevocationFiles.File(path: path, stamp: FileStamp(path), lists: lists))
        return files
    }

    @Test func file_thatChanges_isReadAgainAndOneThatDoesNot_isNot() throws {
        let folder = TemporaryFolder()
        let path = folder.write("ca.crl", Self.pem(Self.nine))
        var files = try Self.files(path)
        #expect(files.refresh(wallSeconds: Self.now).lists == nil)
        folder.write("ca.crl", Self.pem(Self.seven))
        let finding = files.refresh(wallSeconds: Self.now)
        #expect(finding.lists == [Self.seven] && finding.lines.isEmpty && finding.failures == 0)
        #expect(files.refresh(wallSeconds: Self.now).lists == nil)
        // Written again as it was.
        folder.write("ca.crl", Self.pem(Self.seven))
        #expect(files.refresh(wallSeconds: Self.now).lists == nil)
    }

    @Test func file_thatIsBrokenOrGone_leavesWhatItHeldAndIsComplainedOfOnce() throws {
        let folder = TemporaryFolder()
        let path = folder.write("ca.crl", Self.pem(Self.nine))
        var files = try Self.files(path)
        folder.write("ca.crl", "nonsense")
        for (round, lines) in [1, 0, 0].enumerated() {
            let finding = files.refresh(wallSeconds: Self.now)
            #expect(finding.lists == nil && finding.failures == 1 && finding.lines.count == lines, "\(round)")
        }
        unlink(path)
        #expect(files.refresh(wallSeconds: Self.now).lines.count == 1)
        #expect(files.lists == [Self.nine])
        folder.write("ca.crl", Self.pem(Self.seven))
        #expect(files.refresh(wallSeconds: Self.now).lists == [Self.seven])
        #expect(files.refresh(wallSeconds: Self.now).failures == 0)
    }

    /// At nextUpdate the file is read whatever its times say.
    @Test func list_whoseTimeIsOver_isComplainedOfUntilTheNextComes() throws {
        let folder = TemporaryFolder()
        let path = folder.write("ca.crl", Self.pem(Self.root.revocationList(revoking: [9], until: Self.now)))
        var files = try Self.files(path)
        #expect(files.refresh(wallSeconds: Self.now - 1).lines.isEmpty)
        let finding = files.refresh(wallSeconds: Self.now)
        #expect(finding.lists == nil && finding.lines.count == 1 && finding.failures == 0)
        #expect(files.refresh(wallSeconds: Self.now + 60).lines.isEmpty)
        folder.write("ca.crl", Self.pem(Self.nine))
        #expect(files.refresh(wallSeconds: Self.now + 120).lists?.count == 1)
    }

    @Test func watch_tellsOfANewListWithoutARestart() async throws {
        let folder = TemporaryFolder()
        let path = folder.write("ca.crl", Self.pem(Self.nine))
        let files = try Self.files(path)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = group.next()
        let found = Mutex<[RevocationList]>([])
        let box = NIOLoopBoundBox<RevocationWatch?>.makeEmptyBox(valueType: RevocationWatch.self, eventLoop: loop)
        try await loop.submit {
            box.value = RevocationWatch(files, eventLoop: loop, interval: .milliseconds(20)) { finding in
                found.withLock { $0 = finding.lists ?? $0 }
            }
        }.get()
        folder.write("ca.crl", Self.pem(Self.seven))
        for _ in 0..<500 where found.withLock({ $0.isEmpty }) { try await Task.sleep(for: .milliseconds(20)) }
        #expect(found.withLock { $0 } == [Self.seven])
        try await loop.submit {
            box.value?.stop()
            box.value = nil
        }.get()
        try await group.shutdownGracefully()
    }
}
