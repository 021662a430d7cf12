/// A command's arguments where each says by itself what it is, read without ArgumentParser.
///
/// Which takes 1.1 ms to be ready for its first command, a third of such a call (Docs/benchmarks.md). It stays the one that knows
/// what is right: whatever is not plain here, a mistake among it, is left to it.
struct PlainArguments {
    private(set) var positional: [String] = []
    private var flags: [String] = []
    private var values: [(option: String, value: String)] = []

    /// - Returns: `nil` when one is not known, stands twice, has no value, or has one that looks like an option.
    init?(_ arguments: ArraySlice<String>, flags known: [String], options: [String]) {
        var rest = arguments
        while let argument = rest.popFirst() {
            if !argument.hasPrefix("-") {
                positional.append(argument)
            } else if known.contains(argument), !has(argument) {
                flags.append(argument)
            } else if options.contains(argument), self[argument] == nil, let value = rest.popFirst(), !value.hasPrefix("-") {
                values.append((argument, value))
            } else {
                return nil
            }
        }
    }

    func has(_ flag: String) -> Bool { flags.contains(flag) }
    subscript(option: String) -> String? { values.first { $0.option == option }?.value }
}

extension ContextGet {
    /// Of arguments that `GetCommand` takes as well; `nil` when it has to look at them.
    init?(plain arguments: ArraySlice<String>) {
        let flags = ["--detach", "--json"], options = ["-o", "--passphrase-file", "--socket"]
        guard let plain = PlainArguments(arguments, flags: flags, options: options), plain.positional.count == 1, let file = plain["-o"],
            !plain.positional[0].isEmpty
        else { return nil }
        self.init(name: plain.positional[0], output: file, detach: plain.has("--detach"), passphraseFile: plain["--passphrase-file"])
        socket = plain["--socket"] ?? socket
        json = plain.has("--json")
    }
}

extension ContextPut {
    /// Of arguments that `PutCommand` takes as well; `nil` when it has to look at them.
    init?(plain arguments: ArraySlice<String>) {
        let options = ["--passphrase-file", "--local", "--socket"]
        guard let plain = PlainArguments(arguments, flags: ["--json"], options: options), plain.positional.count == 1 else { return nil }
        self.init(file: plain.positional[0], passphraseFile: plain["--passphrase-file"], local: plain["--local"])
        socket = plain["--socket"] ?? socket
        json = plain.has("--json")
    }
}
