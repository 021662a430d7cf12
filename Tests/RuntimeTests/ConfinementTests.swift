import Glibc
import NIOPosix
import Node
import Testing

@testable import Runtime

/// What is given up. The whole of it, in a running daemon, is read by the host lab.
@Suite struct ConfinementTests {
    @Test(.enabled(if: geteuid() == 0)) func retain_givesUpTheRest_inItsThreadAlone() async throws {
        let before = try #require(Capabilities.permitted)
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        let (done, left) = try await pool.runIfActive { (Capabilities.retain([.netRaw, .netAdmin]), Capabilities.permitted) }
        #expect(done && left == before.intersection([.netRaw, .netAdmin]))
        // What is gone does not come back.
        let (again, still) = try await pool.runIfActive { (Capabilities.retain(before), Capabilities.permitted) }
        #expect(again && still == left)
        try await pool.shutdownGracefully()
        #expect(Capabilities.permitted == before)
    }

    @Test func capabilities_inLogs_haveTheirNames() {
        #expect(Capabilities([.netRaw, .netAdmin]).text == "net_admin net_raw")
        #expect(Capabilities([]).text == "none")
    }

    private func loaded(_ change: (String) -> String) throws -> Configuration {
        let folder = try pairFolder()
        let sample = try #require(readText("\(samples)/sg1.toml"))
        return try Configuration.load(path: folder.write("sg1.toml", change(sample)))
    }

    @Test func lowPorts_ofThePair_areBoundAgainLater() throws {
        #expect(try !loaded { $0 }.rebindsLowPorts)
        #expect(try loaded { $0.replacing(":4510", with: ":451") }.rebindsLowPorts)
    }

    @Test func controlGroup_ofThisHost_isTaken_andAnotherRefused() throws {
        func runtime(_ line: String) throws -> RuntimeSettings {
            try loaded { text in
                text.contains("[runtime]\n") ? text.replacing("[runtime]\n", with: "[runtime]\n\(line)\n") : text + "\n[runtime]\n\(line)\n"
            }.runtime
        }
        #expect(try runtime("").controlGroup == nil && runtime("").locksMemory)
        #expect(try runtime("control_group = \"root\"").controlGroup == 0)
        #expect(try runtime("lock_memory = false").locksMemory == false)
        #expect(throws: ConfigurationError.self) { try runtime("control_group = \"no-such-group-here\"") }
    }
}
