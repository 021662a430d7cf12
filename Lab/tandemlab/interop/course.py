"""What is done with every row: the cells, in order, each on the SAs that the ones before it left."""

import threading
import time

from ..processes import LabError, wait_until
from ..vici import Vici, ViciError
from .configuration import CHILD, CONNECTION, DPD_DELAY_S
from .echo import Stream
from .network import CROSSING_DELAY_MS, OUTER_SHARED
from .watch import INFORMATIONAL

BEFORE = (
    "established", "traffic", "rekey_child_by_peer", "rekey_child_by_tandem", "rekey_ike_by_peer", "rekey_ike_by_tandem",
    "rekey_child_at_once", "rekey_ike_at_once", "mobike", "takeover")
AFTER = (
    "traffic_after", "rekey_child_by_peer_after", "rekey_child_by_tandem_after", "rekey_ike_by_peer_after", "rekey_ike_by_tandem_after",
    "dpd_after", "delete")
CELLS = BEFORE + AFTER
#: In the short form: the ways of the daemons' code, each once.
SHORT = (
    "established", "traffic", "rekey_child_by_tandem", "rekey_ike_by_peer", "mobike", "takeover", "traffic_after", "rekey_child_by_peer_after",
    "rekey_ike_by_tandem_after", "delete")
#: How long an exchange may take: some lost datagram's first retransmission (4 s at Tandem and strongSwan) and a slow CPU.
PATIENCE_S = 12
#: Seconds between two looks at both sides, which cost some starts of programs.
POLL_S = 0.4
#: How long an IKE rekey by time alone is awaited beyond PATIENCE_S (see peers.openiked).
TIMED_S = 30


#: Said of a cell that other rows of the same peer have.
NOT_IN_ROW = "not in this row"


class Failed(Exception):
    """A cell did not hold; the message says what was seen."""


class NotOffered(Exception):
    """A cell that this peer, package or row does not have, and why."""


class Course:
    """One row's run. `bench` has pair, network, watch, credentials, echo; `peer` is a started peer."""

    def __init__(self, bench, row, peer):
        self.bench, self.row, self.peer = bench, row, peer
        self.active = self.standby = None
        self.cells = {}
        self.unplanned_takeovers = 0

    def run(self, cells):
        for cell in cells:
            started = time.monotonic()
            try:
                self._follow_active()
                reason = self.peer.not_offered(cell)
                if reason:
                    raise NotOffered(reason)
                detail = self._body(cell)()
                outcome = ("passed", detail or "")
            except NotOffered as reason:
                outcome = ("not_offered", str(reason))
            except (Failed, LabError, ViciError, OSError) as error:
                outcome = ("failed", " | ".join(str(error).strip().splitlines()[:3]))
            self.cells[cell] = {"outcome": outcome[0], "detail": outcome[1], "seconds": round(time.monotonic() - started, 1)}
            if outcome[0] == "failed":
                if cell == "established":
                    break
                self._recover()
        for cell in cells:
            self.cells.setdefault(cell, {"outcome": "failed", "detail": "not reached: established failed", "seconds": 0.0})

    def _body(self, cell):
        name = cell.removesuffix("_after")
        return {
            "established": self.establish, "traffic": self.traffic, "mobike": self.mobike, "takeover": self.takeover, "dpd": self.dpd,
            "delete": self.delete,
            "rekey_child_by_peer": lambda: self.rekey("child", [self.peer.rekey_child]),
            "rekey_child_by_tandem": lambda: self.rekey("child", [self._tandem_rekeys_child]),
            "rekey_ike_by_peer": lambda: self.rekey("ike", [self.peer.rekey_ike]),
            "rekey_ike_by_tandem": lambda: self.rekey("ike", [self._tandem_rekeys_ike]),
            "rekey_child_at_once": lambda: self.at_once("child", [self.peer.rekey_child, self._tandem_rekeys_child]),
            "rekey_ike_at_once": lambda: self.at_once("ike", [self.peer.rekey_ike, self._tandem_rekeys_ike]),
        }[name]

    # Cells

    def establish(self):
        self.active, self.standby = self.bench.pair.wait_paired()
        self._call()
        self.bench.open_echo(self.peer.inner_address())
        if self.row.fragment:
            senders = self.bench.watch.fragments_from()
            if len(senders) < 2:
                raise Failed(f"no fragments of both sides were seen, only of {sorted(senders)}")
        return ""

    def traffic(self):
        self._exchange()
        seen = self.bench.watch.esp
        wanted, other = ("udp", "plain") if self.row.nat else ("plain", "udp")
        wait_until("ESP on the wire", lambda: any(seen.values()), 3)
        if seen[other] or not seen[wanted]:
            raise Failed(f"ESP on the wire: {dict(seen)}")
        clear = [packet for packet in self.bench.watch.clear if packet[0] != self.bench.echo.far_address]
        if clear:
            raise Failed(f"in clear: {clear[:2]}")

    def rekey(self, what, begin):
        before = self.view()
        for each in begin:
            each()
        patience = PATIENCE_S + self.peer.rekey_patience_s
        if what == "ike" and self.row.timed:
            patience += TIMED_S
        self._wait_rekeyed(what, before, patience)
        self._exchange()

    def at_once(self, what, begin):
        """Both begin, and the network holds everything up, so that the requests cross (RFC 7296 section 2.8.1 and 2.25)."""
        for cell, word in ((f"rekey_{what}_by_peer", "the peer"), (f"rekey_{what}_by_tandem", "Tandem")):
            reason = self.peer.not_offered(cell)
            if reason:
                raise NotOffered(f"{word} cannot begin: {reason}")
        if self.row.timed and what == "ike":
            raise NotOffered("the peer's moment is not ours")
        before, since = self.view(), time.monotonic()
        self.bench.network.delay(CROSSING_DELAY_MS)
        try:
            failures = _together(begin)
            time.sleep(2.5 * CROSSING_DELAY_MS / 1000)
        finally:
            self.bench.network.delay(0)
        if failures:
            raise Failed("; ".join(failures))
        if what == "child" and not self.peer.deletes_redundant_child:
            return self._live_with_redundant(before)
        self._wait_rekeyed(what, before, PATIENCE_S + self.peer.rekey_patience_s)
        self._exchange()
        return "requests crossed" if self.bench.watch.crossed(since, OUTER_SHARED[self.row.outside]) else "requests did not cross"

    def _live_with_redundant(self, before):
        """The peer leaves two; one of them is the gateway's, and traffic flows. All is made anew then."""
        def rekeyed():
            now = self._settled()
            if not now or now["child"] == before["child"]:
                return None
            inbound, outbound = self.peer.child_spis()
            return now["child"][1] in inbound and now["child"][0] in outbound

        wait_until("the gateway has one new SA, which the peer has too", rekeyed, PATIENCE_S, every=POLL_S)
        self._exchange()
        self._renew()
        return f"{self.row.peer} does not close the redundant one"

    def mobike(self):
        if self.row.role == "initiator":
            raise NotOffered("the initiator is who moves (RFC 4555 section 3.5), and the pair's address stays")
        if not self.row.mobike:
            raise NotOffered(NOT_IN_ROW)
        if self.row.nat:
            return self._mapping_moves()
        before, since = self.view(), time.monotonic()
        moved = self.bench.network.move_peer(self.row.outside)
        self.peer.address = moved
        if not self.bench.echo.wait_flowing(PATIENCE_S):
            raise Failed("no traffic after the move")
        took = time.monotonic() - since
        after = self.view()
        if after["remote"] != moved:
            raise Failed(f"the gateway speaks to {after['remote']}, the peer is at {moved}")
        if after["ike"] != before["ike"]:
            raise Failed("another IKE SA")
        self._exchange()
        return f"traffic after {took:.1f} s"

    def _mapping_moves(self):
        """Behind a NAT the mapping changes, not the peer's own address."""
        raise NotOffered("the address behind the NAT stays; MOBIKE is only negotiated in this row")

    def takeover(self):
        old, new, before = self.active, self.standby, self.view()
        if self.bench.pair.wait_paired(10)[0] is not old:
            raise Failed("the pair has changed its roles by itself")
        epoch = int(new.status()["epoch"])
        stream = Stream(self.bench.echo)
        try:
            wait_until("a stream both ways", lambda: stream.flows_since(time.monotonic() - 0.5) and len(stream.received["up"]) > 5, 5)
            old.kill()
            try:
                self.bench.pair.wait_active(new, epoch)
                wait_until("a stream both ways after the takeover", lambda since=time.monotonic(): stream.flows_since(since), 10)
            finally:
                self.active, self.standby = new, old
                old.start()
        finally:
            blackout = stream.stop()
        after = self.view()
        for key in ("ike", "child"):
            if after[key] != before[key] and not self.row.timed:
                raise Failed(f"another {key} SA: {before[key]} before, {after[key]} after")
        return f"blackout {max(blackout.values()):.0f} ms"

    def dpd(self):
        """Silence; then one side asks and the other answers. Tandem asks the peers that it called, the others ask it."""
        since = time.monotonic()
        shared = OUTER_SHARED[self.row.outside]
        tandem_asks = self.row.tandem_asks
        name = "Tandem asks" if tandem_asks else "the peer asks"

        def answered():
            side = {"requester": shared} if tandem_asks else {"not_requester": shared}
            return self.bench.watch.answered(INFORMATIONAL, since, **side)

        try:
            wait_until(f"{name} and is answered", answered, 4 * DPD_DELAY_S + 4, every=0.2)
        except LabError:
            raise Failed(f"{name}: no answered INFORMATIONAL in {4 * DPD_DELAY_S + 4} s of silence") from None
        self.view()
        return name

    def delete(self):
        if self.row.role == "responder":
            self.peer.delete()
        else:
            self.active.ask("terminate", {"ike": CONNECTION}, timeout=15)
        wait_until("no SA at the gateway", lambda: not self._sessions(), PATIENCE_S, every=0.2)
        wait_until("no SA at the peer", lambda: not self.peer.ike_associations() and not any(self.peer.child_spis()), PATIENCE_S, every=0.5)

    # What they are made of

    def _follow_active(self):
        """A slow CPU can make the pair change roles by itself; that is noted, and is no fault of the peer's."""
        if self.active and (self.active.status() or {}).get("role") != "active" and (self.standby.status() or {}).get("role") == "active":
            self.active, self.standby = self.standby, self.active
            self.unplanned_takeovers += 1

    def view(self):
        """The gateway's one session: its IKE SPIs, its CHILD SPIs as (in, out), the peer's address; raises when there is not one."""
        view = self._settled()
        if not view:
            raise Failed(self._in_short())
        return view

    def _settled(self):
        sessions = [sa for sa in self._sessions() if sa["state"] == "ESTABLISHED"]
        if len(sessions) != 1:
            return None
        children = [child for child in sessions[0]["child-sas"].values() if child["state"] == "INSTALLED"]
        if len(children) != 1:
            return None
        return {
            "ike": (sessions[0]["initiator-spi"], sessions[0]["responder-spi"]), "child": (children[0]["spi-in"], children[0]["spi-out"]),
            "remote": sessions[0]["remote-host"]}

    def _sessions(self):
        self._follow_active()
        with Vici(self.active.socket, 10.0) as vici:
            return [sa for event in vici.stream("list-sas", "list-sa") for sa in event.values()]

    def _agreed(self):
        """The gateway's view, when the peer has exactly the same CHILD SA and one IKE SA, the same where it tells the SPIs."""
        view = self._settled()
        if not view:
            return None
        inbound, outbound = view["child"]
        state = self.peer.state()
        if (state.inbound, state.outbound) != (frozenset([outbound]), frozenset([inbound])) or len(state.ike) != 1:
            return None
        name = state.ike[0]
        same = not isinstance(name, tuple) or tuple(int(spi, 16) for spi in name) == tuple(int(spi, 16) for spi in view["ike"])
        return view if same else None

    def _wait_rekeyed(self, what, before, patience):
        def rekeyed():
            now = self._settled()
            return now and now[what] != before[what] and self._agreed()

        try:
            now = wait_until("both sides have one new SA, the same", rekeyed, patience, every=POLL_S)
        except LabError as error:
            raise Failed(f"{error}; {self._in_short()}") from None
        if what == "child" and now["ike"] != before["ike"] and not self.row.timed:
            raise Failed("the IKE SA changed too")

    def _exchange(self):
        good, sent = self.bench.echo.exchange()
        if good != sent:
            # One may be lost when SAs are exchanged; more, or again, is a fault.
            again, sent = self.bench.echo.exchange()
            if again != sent:
                raise Failed(f"{good}, then {again} of {sent} datagrams came back; {self._in_short()}")

    def _call(self):
        if self.row.role == "responder":
            self.peer.initiate()
        else:
            self.active.ask("initiate", {"child": CHILD, "timeout": "15000"}, timeout=20)
        try:
            wait_until("one IKE SA with one CHILD SA, the same at both ends", self._agreed, PATIENCE_S + 3, every=POLL_S)
        except LabError as error:
            raise Failed(f"{error}; {self._in_short()}") from None

    def _recover(self):
        """After a failure: what still works is kept, else all is made anew, so that the next cell is judged by itself."""
        try:
            if self._agreed() and self.bench.echo.wait_flowing(2):
                return
            self._renew()
        except (Failed, LabError, ViciError, OSError, StopIteration):
            pass  # the next cell says so

    def _renew(self):
        """Ends what there is at both sides, and calls again."""
        for end in (self.peer.delete, lambda: self.active.ask("terminate", {"ike": CONNECTION, "force": "yes"}, timeout=15)):
            try:
                end()
            except (LabError, ViciError, OSError):
                pass
        time.sleep(1.0)
        self._call()
        self.bench.open_echo(self.peer.inner_address())

    def _tandem_rekeys_child(self):
        self.active.ask("rekey", {"child": CHILD})

    def _tandem_rekeys_ike(self):
        self.active.ask("rekey", {"ike": CONNECTION})

    def _in_short(self):
        try:
            gateway = [
                f"{sa['state']} with children {[(c['state'], c['spi-in'], c['spi-out']) for c in sa['child-sas'].values()]}"
                for sa in self._sessions()]
        except (OSError, ViciError) as error:
            gateway = error
        try:
            state = self.peer.state()
            peer = f"{len(state.ike)} IKE SAs, in {sorted(state.inbound)}, out {sorted(state.outbound)}"
        except (LabError, OSError, ViciError) as error:
            peer = error
        return f"gateway: {gateway or 'nothing'}; peer: {peer}"


def _together(actions):
    """Runs them at the same time; returns what went wrong."""
    failures = []

    def attempt(action):
        try:
            action()
        except (LabError, ViciError, OSError) as error:
            failures.append(str(error))

    threads = [threading.Thread(target=attempt, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures
