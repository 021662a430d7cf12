import Cryptography
import Glibc
import Pair
import Session

extension Sections {
    /// `[state]`: sessions are kept on disk.
    func state() -> StateSettings? {
        guard let table = root.subtable("state") else { return nil }
        table.allow(["directory", "key_file", "credential"])
        if !table.has("directory") { table.missing("directory", "directory = \"/var/lib/tandem\"") }
        let directory = table.nonEmptyString("directory").map(context.resolve)
        if let directory, let mode = FileContents.mode(directory), mode & 0o077 != 0 {
            table.problem("directory", "others may look into \(directory) (mode \(String(mode, radix: 8)))", "run: chmod 700 \(directory)")
        }
        let key = stateKey(table)
        guard let directory, let key else { return nil }
        return StateSettings(directory: directory, key: key.value)
    }

    /// - Returns: `nil` when there is a problem; a key that only the service has is not one.
    private func stateKey(_ table: TableReader) -> (value: SecretBytes?, Void)? {
        switch (table.has("key_file"), table.has("credential")) {
        case (true, false):
            guard let secret = secretFile(table, "key_file"), isLongEnough(secret, table, "key_file") else { return nil }
            return (secret, ())
        case (false, true): return credential(table)
        case (true, true): table.problem("credential", "stands beside key_file", "keep one of the two")
        case (false, false):
            table.missing(
                "key_file",
                "key_file = \"state.key\" (make it with: head -c 32 /dev/urandom > state.key), or credential = \"tandem-state-key\"")
        }
        return nil
    }

    private func credential(_ table: TableReader) -> (value: SecretBytes?, Void)? {
        guard let name = table.nonEmptyString("credential") else { return nil }
        guard !name.contains("/"), name != ".", name != ".." else {
            table.problem("credential", "\"\(name)\" is not the name of a credential", "name it as the unit's LoadCredential= does")
            return nil
        }
        guard let folder = getenv("CREDENTIALS_DIRECTORY").map({ String(cString: $0) }) else {
            table.warning("credential", "is not looked at: only the service has it", "start tandemd by its unit")
            return (nil, ())
        }
        let path = "\(folder)/\(name)"
        do throws(FileContents.Failure) {
            let secret = SecretBytes(try FileContents.read(path, isSecret: true))
            return isLongEnough(secret, table, "credential") ? (secret, ()) : nil
        } catch {
            table.problem("credential", error.what(path), "give the unit LoadCredential=\(name):FILE")
            return nil
        }
    }

    private func isLongEnough(_ secret: SecretBytes, _ table: TableReader, _ key: String) -> Bool {
        guard secret.count < StateFile.masterKeyCountMin else { return true }
        let what = "has \(secret.count) octets, and \(StateFile.masterKeyCountMin) are needed"
        table.problem(key, what, "make one with: head -c 32 /dev/urandom > FILE")
        return false
    }
}
