import Glibc

/// libFuzzer's entry for programs that have a `main` of their own.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ body: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

private let targetVariable = "TANDEM_FUZZ_TARGET"

private func usage() -> Never {
    print("usage: tandem-fuzz list | tandem-fuzz seed TARGET FOLDER | tandem-fuzz TARGET [libFuzzer's options and folders]")
    exit(64)
}

private func target(_ name: String) -> FuzzTarget {
    guard let found = FuzzTarget.all.first(where: { $0.name == name }) else { usage() }
    return found
}

/// Writes a target's first inputs as files.
private func seed(_ target: FuzzTarget, into folder: String) throws {
    for (index, bytes) in try target.seeds().enumerated() {
        guard let file = fopen("\(folder)/seed-\(index)", "w") else {
            print("cannot write into \(folder)")
            exit(74)
        }
        fwrite(bytes, 1, bytes.count, file)
        fclose(file)
    }
}

/// libFuzzer takes a C function, which cannot hold anything: set once, before it runs.
nonisolated(unsafe) private var chosen: FuzzTarget?

private func fuzz(_ target: FuzzTarget) -> CInt {
    chosen = target
    // libFuzzer starts this program again for a merge, with options alone: the environment then says which target is meant.
    setenv(targetVariable, target.name, 1)
    let given = CommandLine.arguments.dropFirst().drop { $0 == target.name }
    var arguments = [CommandLine.arguments[0], "-max_len=\(target.lengthMax)"] + given
    let words = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: arguments.count + 1)
    for (index, argument) in arguments.enumerated() { words[index] = strdup(argument) }
    words[arguments.count] = nil
    var count = CInt(arguments.count)
    arguments = []
    var pointer = words
    return runDriver(&count, &pointer) { start, count in
        let bytes = Array(UnsafeBufferPointer(start: start, count: count))
        do {
            try chosen!.run(bytes)
        } catch {
            fatalError("\(error)")
        }
        return 0
    }
}

switch CommandLine.arguments.dropFirst().first {
case nil: usage()
case "list": for target in FuzzTarget.all { print(target.name) }
case "seed" where CommandLine.arguments.count == 4: try seed(target(CommandLine.arguments[2]), into: CommandLine.arguments[3])
case let option? where option.hasPrefix("-"): exit(fuzz(target(getenv(targetVariable).map { String(cString: $0) } ?? "")))
case let name?: exit(fuzz(target(name)))
}
