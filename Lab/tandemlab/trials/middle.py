"""The active dies at the very frame of a step of an exchange of a stock client; the client must end with a working tunnel, and may wait
for a timeout of its own only where a datagram of its own came to the dead."""

import re
import socket
import threading
import time
from dataclasses import dataclass

from .. import kernel
from ..capture import IKE_AUTH, IKE_SA_INIT, INFORMATIONAL
from ..gatekeeper import Gatekeeper, Verdict
from ..namespaces import OUTER_SHARED, SERVER
from ..processes import LabError, wait_until
from ..strongswan import Charon, road_conf
from ..vici import ViciError
from .wire import check_wire

CREATE_CHILD_SA = 36
#: strongSwan repeats a request for the first time after 4 s.
FIRST_RETRANSMISSION_S = 4.0
#: From the death to the client's answer: the takeover takes some 30 ms, the rest is the machine's.
LIMIT_MS = 1000
#: Octets of an IP datagram: IKE_AUTH takes several.
FRAGMENT_SIZE = 400
EXTRA = f"    fragment_size = {FRAGMENT_SIZE}\n"
PORT = 7007


@dataclass
class Step:
    """What the client is told to do, and at which frame the active dies."""

    name: str
    act: str
    exchange: int
    #: The frame is the gateway's answer; else a request of the client.
    at_answer: bool = True
    #: The frame dies with the node.
    is_lost: bool = True
    #: Of the exchange at whose frames the client's requests are kept until there is a new owner.
    holds: int | None = None
    #: Further requests of the client come to the dead: it repeats one.
    retransmits: bool = False
    #: Fragments of the request up to this one come to the active that dies.
    fragments: int = 0
    ends_with_tunnel: bool = True


STEPS = (
    Step("IKE_SA_INIT answered, the answer lost", "initiate", IKE_SA_INIT),
    Step("IKE_SA_INIT answered, IKE_AUTH on its way", "initiate", IKE_SA_INIT, is_lost=False, holds=IKE_AUTH),
    Step("IKE_SA_INIT answered, IKE_AUTH came to the dead", "initiate", IKE_SA_INIT, is_lost=False, retransmits=True),
    Step("IKE_AUTH half here, the other fragments on their way", "initiate", IKE_AUTH, at_answer=False, is_lost=False, fragments=1),
    Step("IKE_AUTH answered, the answer lost", "initiate", IKE_AUTH),
    Step("rekey of the CHILD SA answered, the answer lost", "rekey_child", CREATE_CHILD_SA),
    Step("rekey of the IKE SA answered, the answer lost", "rekey_ike", CREATE_CHILD_SA),
    Step("DELETE answered, the answer lost", "terminate", INFORMATIONAL, ends_with_tunnel=False),
)


def middle(lab, checks, times_count=True):
    """In a laboratory of its own; returns what each step took."""
    lab.start_pair()
    keeper = Gatekeeper(lab.network)
    lab.at_end(keeper.stop)
    conf = road_conf(OUTER_SHARED, more="fragmentation = force")
    client = lab.client = Charon(lab.network, "client", lab.directory, conf, lab.settings.client_kernel, EXTRA)
    lab.at_end(client.stop)
    client.start()
    found = [_Course(lab, checks, keeper, step, times_count).run() for step in STEPS]
    check_wire(lab, checks)
    return found


class _Course:
    def __init__(self, lab, checks, keeper, step, times_count):
        self.lab, self.checks, self.keeper, self.step, self.times_count = lab, checks, keeper, step, times_count
        self.active = self.standby = self.died_at = None

    def run(self):
        self.active, self.standby = self.lab.pair.wait_paired()
        client, step = self.lab.client, self.step
        self._prepare()
        epoch, seen = int(self.standby.status()["epoch"]), len(client.log())
        self.keeper.rule = self._rule
        outcome = []
        acting = threading.Thread(target=lambda: outcome.append(self._act()), daemon=True)
        acting.start()
        wait_until(f"the frame of '{step.name}'", lambda: self.died_at, timeout=10, every=0.002)
        self.lab.pair.wait_active(self.standby, epoch)
        self.keeper.rule = lambda message: Verdict.PASS
        self.keeper.release()
        acting.join(timeout=20)
        done_at = outcome[0][1] if outcome else time.monotonic()
        self._judge(outcome[0][0] if outcome else "no answer within 20 s", done_at, client.log()[seen:])
        self.active.start()
        self.active.wait_answering()
        return {"step": step.name, "milliseconds": round((done_at - self.died_at) * 1000, 1)}

    def _prepare(self):
        """With a tunnel or without, as the step begins."""
        self.keeper.rule = lambda message: Verdict.PASS
        client, begins = self.lab.client, self.step.act != "initiate"
        if bool(client.associations()) != begins:
            client.initiate("net") if begins else client.terminate("road")
        wait_until("the client is as the step begins", lambda: bool(client.associations()) == begins)
        self.before = client.settled_proof() if begins else None

    def _rule(self, message):
        """On the gatekeeper's thread."""
        step = self.step
        if self.died_at is not None:
            is_held = step.fragments or message.exchange == step.holds
            return Verdict.HOLD if is_held and not message.to_host else Verdict.PASS
        if message.exchange != step.exchange or message.is_response != step.at_answer or message.to_host != step.at_answer:
            return Verdict.PASS
        if step.exchange == IKE_SA_INIT and not message.responder_spi:
            # INVALID_KE_PAYLOAD: the client begins again.
            return Verdict.PASS
        if step.fragments:
            return self._fragment(message)
        self.died_at = self.active.kill()
        return Verdict.DROP if step.is_lost else Verdict.PASS

    def _fragment(self, message):
        if message.fragment <= self.step.fragments:
            return Verdict.PASS
        if not self._killer:
            # What came before has to come to the active, and to the standby.
            self._killer = threading.Timer(0.1, self._die)
            self._killer.start()
        return Verdict.HOLD

    _killer = None

    def _die(self):
        self.died_at = self.active.kill()

    def _act(self):
        """Does what the step says; returns (what went wrong, when it was done)."""
        client, act = self.lab.client, self.step.act
        try:
            if act == "initiate":
                client.initiate("net", timeout_ms=15_000)
            elif act == "terminate":
                client.terminate("road")
            else:
                client.rekey_child("net") if act == "rekey_child" else client.rekey_ike("road")
                client.settled_proof(unlike=self._is_rekeyed, timeout=15)
            return None, time.monotonic()
        except (ViciError, LabError, OSError) as error:
            return str(error).splitlines()[0], time.monotonic()

    def _is_rekeyed(self, now):
        return now.child != self.before.child if self.step.act == "rekey_child" else now.ike_spis != self.before.ike_spis

    def _judge(self, problem, done_at, log):
        step, checks = self.step, self.checks
        took = (done_at - self.died_at) * 1000
        repeats, inits = log.count("retransmit 1 of request"), len(re.findall(r"generating IKE_SA_INIT request", log))
        detail = problem or f"{took:.0f} ms after the death, {repeats} requests repeated"
        if step.ends_with_tunnel:
            problem = problem or self._carries()
            checks.expect(f"{step.name}: the client has a working tunnel", not problem, problem or detail)
        else:
            checks.expect(f"{step.name}: the client has ended it", not problem and not self.lab.client.associations(), detail)
            wait_until("the gateway has nothing left", lambda: int(self.standby.status()["sessions_owned"]) == 0)
        wanted = 1 if step.retransmits else 0
        # What came to the dead may have been handed on by its kernel, once the address was elsewhere.
        checks.expect(f"{step.name}: {'at most one request' if wanted else 'nothing'} was repeated", repeats <= wanted, detail)
        if step.act == "initiate":
            # The first may have been for another group.
            spis = len(set(re.findall(r"IKE_SA road\[(\d+)\] established", log)))
            checks.expect(f"{step.name}: in the IKE SA in which it began", inits <= 2 and spis == 1, f"{inits} IKE_SA_INIT requests")
        limit = LIMIT_MS + (FIRST_RETRANSMISSION_S * 1000 if wanted else 0)
        checks.expect(f"{step.name}: within {limit:.0f} ms", took <= limit or not self.times_count, detail)

    def _carries(self, seconds=5.0):
        """Sends through the tunnel and back; returns what is wrong."""
        address = self.lab.client.settled_proof().virtual_address
        with kernel.inside(self.lab.network.name("server")):
            server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            server.bind((SERVER, PORT))
        with kernel.inside(self.lab.network.name("client")):
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.bind((address, 0))
        with server, client:
            server.settimeout(0.1)
            client.settimeout(0.1)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                try:
                    client.sendto(b"there", (SERVER, PORT))
                    _, sender = server.recvfrom(64)
                    server.sendto(b"and back", sender)
                    client.recv(64)
                    return None
                except OSError:
                    continue
        return f"nothing passes through the tunnel within {seconds:g} s"
