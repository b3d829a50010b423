"""A scripted name server on loopback, UDP and TCP: answers by name and type, or fails as told."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import trio

SOA = "ns.example. host.example. 1 60 60 60 5"


@dataclass
class NameServer:
    """
    What is known, and how it is told.

    Attributes:
        records: texts of records by name (without the last dot) and type; a name with any is a name.
        ttl_s: of all of them.
        fails: an RCODE said instead of an answer; ``silent``: nothing is said.
        asked: every question: name and type, and whether it came over TCP.
    """

    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    ttl_s: int = 30
    fails: str = ""
    asked: list[tuple[str, str, bool]] = field(default_factory=list)
    port: int = 0

    async def serve(self, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as udp:
            while True:  # one port for both
                [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
                self.port = listener.socket.getsockname()[1]
                try:
                    await udp.bind(("127.0.0.1", self.port))
                    break
                except OSError:
                    await listener.aclose()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, self._tcp, [listener])
                task_status.started(self.port)
                while True:
                    question, asker = await udp.recvfrom(65536)
                    answer = self._answer(question, is_tcp=False)
                    if answer is not None:
                        wire = answer.to_wire()
                        if len(wire) > 1232:
                            answer.flags |= dns.flags.TC
                            for section in (answer.answer, answer.authority):
                                section.clear()
                            wire = answer.to_wire()
                        await udp.sendto(wire, asker)

    async def _tcp(self, stream: trio.SocketStream) -> None:
        try:
            while head := await stream.receive_some(2):
                question = b""
                while len(question) < struct.unpack(">H", head)[0]:
                    question += await stream.receive_some(65536)
                answer = self._answer(question, is_tcp=True)
                if answer is None:
                    return
                wire = answer.to_wire()
                await stream.send_all(struct.pack(">H", len(wire)) + wire)
        except trio.BrokenResourceError:
            pass

    def _answer(self, wire: bytes, *, is_tcp: bool) -> dns.message.Message | None:
        question = dns.message.from_wire(wire)
        asked = question.question[0]
        name, kind = asked.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(asked.rdtype)
        self.asked.append((name, kind, is_tcp))
        if self.fails == "silent":
            return None
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.RA
        if self.fails:
            answer.set_rcode(dns.rcode.from_text(self.fails))
            return answer
        texts = self.records.get((name, kind))
        if texts:
            answer.answer.append(dns.rrset.from_text(asked.name, self.ttl_s, "IN", kind, *texts))
        else:
            answer.authority.append(dns.rrset.from_text("example.", 5, "IN", "SOA", SOA))
            if not any(known == name for known, _ in self.records):
                answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer
