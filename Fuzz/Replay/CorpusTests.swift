import Glibc
import Testing

/// What the search kept, and what it once found, through its target again.
@Suite struct CorpusTests {
    /// `Fuzz`, seen from this file.
    private let folder = #filePath.split(separator: "/").dropLast(2).map { "/\($0)" }.joined()

    @Test(arguments: FuzzTarget.all.map(\.name)) func corpus_whenReplayed_holds(name: String) throws {
        let target = try #require(FuzzTarget.all.first { $0.name == name })
        let files = try files(in: "\(folder)/Corpus/\(name)")
        #expect(!files.isEmpty)
        for (file, bytes) in files {
            #expect(throws: Never.self, "\(file)") { try target.run(bytes) }
        }
        for seed in try target.seeds() {
            #expect(throws: Never.self) { try target.run(seed) }
        }
    }

    private func files(in folder: String) throws -> [(name: String, bytes: [UInt8])] {
        let directory = try #require(opendir(folder), "\(folder)")
        defer { closedir(directory) }
        var found: [(String, [UInt8])] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if !name.hasPrefix(".") { found.append((name, try contents("\(folder)/\(name)"))) }
        }
        return found
    }

    private func contents(_ path: String) throws -> [UInt8] {
        let file = try #require(fopen(path, "r"), "\(path)")
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count = fread(&bytes, 1, bytes.count, file)
        return Array(bytes[..<count])
    }
}
