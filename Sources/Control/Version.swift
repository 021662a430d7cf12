/// The version that `tandemd --version`, `tandem --version` and VICI's `version` name.
public enum TandemVersion {
    public static let text = "0.1.0"
}
