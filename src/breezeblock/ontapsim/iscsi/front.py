"""The login front: what hosts see at the SVM's portals.

tgtd shows a target's LUNs to whoever may use the target, and knows each CHAP user once. So every
initiator has a target of its own in tgtd, and the front makes one of them all: it listens at the
portals, answers discovery, checks who logs in under the SVM's one name, and connects the host to
that initiator's target.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from breezeblock.ontapsim.data_plane import Credential, Svm
from breezeblock.ontapsim.iscsi import discovery, pdu
from breezeblock.ontapsim.iscsi.authentication import RefusedError
from breezeblock.ontapsim.iscsi.login import Names, Opening, Wire, open_login
from breezeblock.ontapsim.iscsi.pdu import ProtocolError, Status
from breezeblock.ontapsim.iscsi.relay import Session, hold_all
from breezeblock.ontapsim.sockets import listen

_LOGIN_TIME = 30.0  # a login's next packet, and tgtd being back
_NO_PROOF = Credential("none")


@dataclass(frozen=True, slots=True)
class View:
    """What is served: the SVM of each portal, each initiator's target, and where tgtd listens."""

    portals: Mapping[tuple[str, int], Svm] = field(default_factory=dict)
    targets: Mapping[tuple[str, str], str] = field(default_factory=dict)
    tgtd: tuple[str, int] = ("", 0)

    def allows(self, session: Session, svm: str) -> bool:
        """Whether a session that is open may stay."""
        served = self.portals.get(session.portal)
        if served is None or served.name != svm:
            return False
        return session.initiator is None or (svm, session.initiator) in self.targets


class Front:
    """Listens, lets hosts in, and keeps their sessions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._view = View()
        self._ready = threading.Event()  # the view holds in tgtd, too
        self._listeners: dict[tuple[str, int], socket.socket] = {}
        self._sessions: dict[Session, str] = {}  # with the name of the SVM

    def prepare(self, view: View) -> None:
        """Take the new view: whom it does not allow is thrown out, and nobody gets in for now."""
        with self._lock:
            self._ready.clear()
            self._view = view
            closing = [self._listeners.pop(at) for at in set(self._listeners) - set(view.portals)]
            doomed = [one for one, svm in self._sessions.items() if not view.allows(one, svm)]
        for listener in closing:
            _close_listener(listener)
        for session in doomed:
            session.close()

    def let_in(self) -> None:
        """The view holds: serve it at all its portals."""
        self._ready.set()
        for portal in set(self._view.portals) - set(self._listeners):
            listener = listen(portal)
            with self._lock:
                self._listeners[portal] = listener
            name = "iscsi {}:{}".format(*portal)
            arguments = (listener, portal)
            threading.Thread(target=self._accept, args=arguments, name=name, daemon=True).start()

    @contextmanager
    def hold(self, svm: str, initiator: str) -> Iterator[None]:
        """No command of that initiator reaches tgtd meanwhile."""
        with self._lock:
            sessions = [
                session
                for session, name in self._sessions.items()
                if (name, session.initiator) == (svm, initiator)
            ]
            tgtd = self._view.tgtd
        with hold_all(sessions, tgtd):
            yield

    def _accept(self, listener: socket.socket, portal: tuple[str, int]) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # closed: the portal went down
                return
            session = Session(client, portal)
            with self._lock:
                svm = self._view.portals.get(portal)
                if svm is not None and self._listeners.get(portal) is listener:
                    self._sessions[session] = svm.name
                else:
                    session.release()
                    return
            threading.Thread(target=self._serve, args=(session,), daemon=True).start()

    def _serve(self, session: Session) -> None:
        try:
            session.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session.client.settimeout(_LOGIN_TIME)
            # A host that goes away, talks nonsense or is refused: its session ends, no more.
            with contextlib.suppress(OSError, EOFError, ProtocolError, RefusedError):
                self._log_in(session, Wire(session.client))
        finally:
            with self._lock:
                del self._sessions[session]
            session.release()

    def _log_in(self, session: Session, wire: Wire) -> None:
        opening = open_login(wire, lambda names: self._credential(session, names))
        if opening.names.target is None:
            svm = self._svm(session)
            discovery.serve(wire, opening, svm.target, svm.portals)
            return
        try:
            upstream, target = self._connect(session, opening.names)
        except RefusedError as refused:
            wire.write(pdu.login_answer(opening.request, opening.number, status=refused.status))
            raise
        self._hand_over(session, upstream, opening, target)

    def _hand_over(
        self, session: Session, upstream: socket.socket, opening: Opening, target: str
    ) -> None:
        upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            upstream.sendall(opening.towards(target).packed())
        except OSError:
            upstream.close()
            raise
        session.relay(upstream)

    def _credential(self, session: Session, names: Names) -> Credential:
        """What that initiator has to prove, if it may come in at all."""
        svm = self._svm(session)
        if names.target is not None:
            if names.target != svm.target.lower():
                raise RefusedError(Status.NOT_FOUND)
            if names.initiator not in svm.access:
                raise RefusedError(Status.FORBIDDEN)
        default = svm.credentials.get("default", _NO_PROOF)
        return svm.credentials.get(names.initiator, default)

    def _svm(self, session: Session) -> Svm:
        svm = self._view.portals.get(session.portal)
        if svm is None:  # the portal went down this moment
            raise RefusedError(Status.SERVICE_UNAVAILABLE)
        return svm

    def _connect(self, session: Session, names: Names) -> tuple[socket.socket, str]:
        """A connection to tgtd, for an initiator that the view knows when all of it is served."""
        while True:
            if not self._ready.wait(_LOGIN_TIME):
                raise RefusedError(Status.SERVICE_UNAVAILABLE)
            with self._lock:
                if not self._ready.is_set():
                    continue
                target = self._view.targets.get((self._sessions[session], names.initiator))
                if target is None:
                    raise RefusedError(Status.FORBIDDEN)
                session.initiator = names.initiator
                tgtd = self._view.tgtd
            try:
                return socket.create_connection(tgtd, timeout=_LOGIN_TIME), target
            except OSError as error:
                raise RefusedError(Status.SERVICE_UNAVAILABLE) from error


def _close_listener(listener: socket.socket) -> None:
    """Also for the thread that waits in accept."""
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
