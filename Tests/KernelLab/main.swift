import Cryptography
import Glibc
import Netlink
import Runtime
import Session
import Synchronization

do {
    try Lab().run()
} catch {
    Checks.check(false, "\(error)")
}
exit(Checks.failures == 0 ? 0 : 1)
