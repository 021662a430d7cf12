import Cryptography
import Glibc
import Testing

@testable import Runtime

@Suite struct StateConfigurationTests {
    private let folder = TemporaryFolder()
    private let key = String(repeating: "k", count: 32)

    private func load(_ section: String) throws(ConfigurationError) -> Configuration {
        try Configuration.load(path: folder.write("tandem.toml", minimal + section))
    }

    private func problems(_ section: String) -> [String] {
        do throws(ConfigurationError) {
            _ = try load(section)
            return []
        } catch {
            return error.problems.map { "\($0.key): \($0.what)" }
        }
    }

    @Test func state_whenGiven_isTaken() throws {
        folder.write("state.key", key)
        let settings = try #require(try load("[state]\ndirectory = \"state\"\nkey_file = \"state.key\"\n").state)
        #expect(settings.directory == "\(folder.path)/state" && settings.key?.count == 32)
        #expect(try load("").state == nil)
    }

    @Test func state_thatIsIncomplete_isNamed() {
        folder.write("state.key", key)
        folder.write("short.key", "short")
        folder.write("open.key", key, mode: 0o644)
        folder.makeFolder("open")
        chmod("\(folder.path)/open", 0o755)
        #expect(problems("[state]\nkey_file = \"state.key\"\n") == ["state.directory: is missing"])
        #expect(problems("[state]\ndirectory = \"state\"\n") == ["state.key_file: is missing"])
        let short = problems("[state]\ndirectory = \"state\"\nkey_file = \"short.key\"\n")
        #expect(short == ["state.key_file: has 5 octets, and 32 are needed"])
        #expect(problems("[state]\ndirectory = \"state\"\nkey_file = \"open.key\"\n").first?.contains("can be read by others") == true)
        #expect(problems("[state]\ndirectory = \"state\"\nkey_file = \"none.key\"\n").first?.contains("cannot read") == true)
        let exposed = problems("[state]\ndirectory = \"open\"\nkey_file = \"state.key\"\n")
        #expect(exposed == ["state.directory: others may look into \(folder.path)/open (mode 755)"])
        let both = "[state]\ndirectory = \"state\"\nkey_file = \"state.key\"\ncredential = \"tandem-state-key\"\n"
        #expect(problems(both) == ["state.credential: stands beside key_file"])
        let path = problems("[state]\ndirectory = \"state\"\ncredential = \"../key\"\n")
        #expect(path == ["state.credential: \"../key\" is not the name of a credential"])
    }

    @Test func credential_outsideOfTheService_isAWarning() throws {
        guard getenv("CREDENTIALS_DIRECTORY") == nil else { return }
        let configuration = try load("[state]\ndirectory = \"state\"\ncredential = \"tandem-state-key\"\n")
        #expect(configuration.state != nil && configuration.state?.key == nil)
        #expect(configuration.warnings.map(\.key) == ["state.credential"])
    }
}
